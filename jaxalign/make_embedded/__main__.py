"""Train the embedded model from scratch; deterministic for a machine and its library versions."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from absl import flags

from jaxalign import cli
from jaxalign.files import local_path
from jaxalign.make_embedded.examples import Examples, make_form
from jaxalign.make_embedded.respondents import country_answers
from jaxalign.make_embedded.tokenizer import corpus, train_tokenizer
from jaxalign.make_embedded.training import train
from jaxalign.model import parse_config, save_model
from jaxalign.prompts import load_texts, load_tokenizer, parse_format
from jaxalign.run.heartbeat import require_writable
from jaxalign.survey import Scoring, load_instrument, load_targets, make_scoring

NOTICE = "synthetic model without scientific meaning: trained on made-up survey answers"
# What it is trained on: wording and format, with the share of examples. Other orders, labels and
# wordings stay new to it, as most are to any model.
FORMS = {
    ("vsm13", "identity"): 0.4,
    ("vsm13", "reversed"): 0.35,
    ("vsm13", "identity/letters"): 0.125,
    ("vsm13", "reversed/letters"): 0.125,
}
# Steps that teach the other forms, and then to write answers out and end, as shares of the first.
# With all forms from the start the model had not learned the countries after 4,400 steps.
OTHER_FORMS, WRITING = 0.7, 0.7
VOCABULARY = 1280
ARCHITECTURE = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 128,
    "intermediate_size": 352,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 64,
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    "tie_word_embeddings": True,
}

_OUTPUT = flags.DEFINE_string("output", None, "Folder to write the model to.", required=True)
_STEPS = flags.DEFINE_integer("steps", 2200, "Steps of the first training.", lower_bound=1)
_BATCH = flags.DEFINE_integer("batch", 8, "Personas per step, 24 items each.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Of respondents, weights and batches.", lower_bound=0)


def make(folder: Path, steps: int, batch_size: int, seed: int) -> None:
    """Write tokenizer, config and weights in Hugging Face format.

    Args:
      folder: made if it is missing; files are replaced only when training is done.
      steps: of the training.
      batch_size: personas per step.
      seed: of respondents, weights and batches.
    """
    forms = [(load_instrument(wording), parse_format(shown)) for wording, shown in FORMS]
    instrument, texts = forms[0][0], load_texts()
    scoring = make_scoring(instrument, 50.0)
    assert isinstance(scoring, Scoring)
    targets = load_targets("hofstede2010", tuple(instrument.dimensions))
    targets_NC = np.array([list(targets[code].scores.values()) for code in texts.countries])
    answers = dict(
        zip(texts.countries, country_answers(instrument, scoring, targets_NC, seed), strict=True)
    )
    with tempfile.TemporaryDirectory() as temporary:
        draft = Path(temporary)
        train_tokenizer(corpus(forms[:1] * 8, texts), draft, VOCABULARY)
        tokenizer = load_tokenizer(draft)
        special = {
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        }
        config = parse_config(ARCHITECTURE | {"vocab_size": len(tokenizer)}, "ARCHITECTURE")
        shares = list(FORMS.values())
        plain = [make_form(tokenizer, *form) for form in forms]
        options = max(len(item.options) for item in instrument.items)
        written = [
            make_form(tokenizer, *form, option) for option in range(options) for form in forms
        ]
        phases = {
            "answers": (1.0, plain[:1], [1.0]),
            "forms": (OTHER_FORMS, plain, shares),
            "writing": (WRITING, written, [share / options for share in shares] * options),
        }
        params = None
        for number, (phase, (share, asked, weights)) in enumerate(phases.items()):
            count = max(1, int(share * steps))
            _, params = train(
                config,
                Examples(tokenizer, asked, weights, texts, answers),
                steps=count,
                batch_size=batch_size,
                seed=seed + number,
                report=_reporter(phase, count),
                start=params,
            )
        save_model(draft, params, config, extra=special, notice=NOTICE)
        folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(draft.iterdir()):
            (folder / file.name).write_bytes(file.read_bytes())
    print(f"wrote {folder}: {NOTICE}")


def _reporter(phase: str, steps: int) -> Callable[[int, float], None]:
    begun = time.monotonic()

    def report(step: int, loss: float) -> None:
        left = (time.monotonic() - begun) / step * (steps - step)
        print(f"{phase}: step {step}/{steps}  loss {loss:.6f} nats  {left:.0f} s left", flush=True)

    return report


def main(typed: list[str]) -> None:
    """Run the command."""
    folder = local_path(_OUTPUT.value, "--output")
    require_writable(folder, "--output")  # or it is told after the training
    make(folder, _STEPS.value, _BATCH.value, _SEED.value)


if __name__ == "__main__":
    cli.run(main, needs_config=False)
