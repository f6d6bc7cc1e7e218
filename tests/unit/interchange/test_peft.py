"""The adapter that is exported, in PEFT itself; and the adapter that PEFT saves, read again."""

import json
import re

import jax
import numpy as np
import pytest
import safetensors
from flax import nnx

from jaxalign.config import base, freeze
from jaxalign.errors import UserError
from jaxalign.fitness.readout import answer_logits
from jaxalign.interchange import export, read_soft_prompt
from jaxalign.problem import load_problem
from jaxalign.prompts import encode, question_text, render_chat

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")
pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Position ids are not supported:UserWarning"),
]
# Both compute in float32, where a logit of about 10 has steps of 1e-6, and sum in another order
# over some 70 positions and 4 layers; 5e-5 has room for that, and the prompt moves logits by 0.1.
CLOSE = 5e-5


@pytest.fixture(scope="module")
def embedded():
    config = base("embedded")
    config.country = "SA"
    return load_problem(freeze(config))


def our_logits(problem, prompt_LD):
    @jax.jit
    def forward(weights, task, prompt_LD):
        return answer_logits(nnx.merge(problem.graphdef, weights), task.layout, prompt_LD)

    return np.asarray(forward(problem.weights, problem.task, prompt_LD))


def ids_of(problem, item):
    text = render_chat(problem.tokenizer, question_text(problem.instrument, item))
    return torch.tensor([encode(problem.tokenizer, text)])


def test_the_card_s_lines_load_a_model_with_our_logits(
    embedded, alone, change, put_prompt, tmp_path
):
    width = embedded.model_config.width
    prompt_LD = np.random.default_rng(0).normal(0, 0.3, (4, width)).astype(np.float32)
    change(alone / "config.json", "embedded", "config", "model", "path")
    put_prompt(alone, prompt_LD)
    export(alone, "peft", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    (lines,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert lines.count("path/to/this/folder") == 1
    names: dict = {}
    exec(lines.replace("path/to/this/folder", str(tmp_path / "out")), names)
    theirs = names["model"].float().eval()

    ours_QA = our_logits(embedded, prompt_LD)
    naive_QA = our_logits(embedded, prompt_LD[:0])
    rows = range(0, len(embedded.instrument.items), 5)
    for row in rows:
        ids = ids_of(embedded, embedded.instrument.items[row])
        with torch.no_grad():
            logits = theirs(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -1]
        answers = torch.tensor(embedded.questions.answer_ids_QA[row])
        np.testing.assert_allclose(ours_QA[row], logits[answers], rtol=0, atol=CLOSE)
    assert np.abs(ours_QA - naive_QA)[rows].max() > 100 * CLOSE
    assert len(names["answers"]) == 1


QUESTIONS = [
    "How important is it to have time?",
    "Do you often feel nervous at work, and is it important to you to have good work friends?",
    "Hi",
]
WRITTEN = 8


def by_forward_passes(model, prompt, ids):
    """What is written greedily, each token by a pass over all before it; and the first logits."""
    length, first = ids.shape[1], None
    for _ in range(WRITTEN):
        rows = torch.cat([prompt[None], model.get_input_embeddings()(ids)], dim=1)
        logits = model(inputs_embeds=rows).logits[0, -1]
        first = logits.clone() if first is None else first
        logits[model.generation_config.eos_token_id] = -torch.inf  # or all would soon end
        ids = torch.cat([ids, logits.argmax()[None, None]], dim=1)
    return ids[0, length:].tolist(), first


def test_the_card_s_lines_write_what_forward_passes_do(alone, change, put_prompt, tmp_path):
    """In a batch and with padding; PEFT's own way writes something else, as the card says."""
    prompt_LD = np.random.default_rng(1).normal(0, 0.3, (4, 128)).astype(np.float32)
    change(alone / "config.json", "embedded", "config", "model", "path")
    put_prompt(alone, prompt_LD)
    export(alone, "peft", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    (lines,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    lines = lines.replace("path/to/this/folder", str(tmp_path / "out"))
    lines = re.sub(r"questions = .*", f"questions = {QUESTIONS!r}", lines)
    told = "return_dict_in_generate=True, output_logits=True"
    ends = f"max_new_tokens={WRITTEN}, min_new_tokens={WRITTEN}, {told}"
    lines = lines.replace("max_new_tokens=16", ends).replace("decode(written", "decode(written[0]")
    names: dict = {}
    with torch.no_grad():
        exec(lines, names)
        base, model, tokenizer = (names[name] for name in ("base", "model", "tokenizer"))
        wanted = []
        for row, question in enumerate(QUESTIONS):
            text = tokenizer.apply_chat_template(
                [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
            )
            ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
            tokens, logits = by_forward_passes(base, torch.tensor(prompt_LD), ids)
            wanted.append(tokens)
            np.testing.assert_allclose(names["written"].logits[0][row], logits, rtol=0, atol=CLOSE)
            alone_ids = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
            options = {"max_new_tokens": WRITTEN, "min_new_tokens": WRITTEN, "do_sample": False}
            for cache in (False, True):
                theirs = model.generate(**alone_ids, **options, use_cache=cache)
                is_right = theirs[0, ids.shape[1] :].tolist() == tokens
                assert is_right != cache
        assert names["written"].sequences.tolist() == wanted


def test_the_adapter_is_what_peft_would_save(alone, tmp_path):
    export(alone, "peft", tmp_path / "ours")
    config = json.loads((tmp_path / "ours" / "adapter_config.json").read_text())
    model = transformers.AutoModelForCausalLM.from_pretrained(config["base_model_name_or_path"])
    peft.PeftModel.from_pretrained(model, str(tmp_path / "ours")).save_pretrained(
        str(tmp_path / "theirs")
    )
    saved = json.loads((tmp_path / "theirs" / "adapter_config.json").read_text())
    version = {"peft_version", "modules_to_save"}  # fields that older versions lack
    assert {key: value for key, value in saved.items() if key not in version} == config
    for folder in (alone, tmp_path / "ours", tmp_path / "theirs"):
        np.testing.assert_array_equal(read_soft_prompt(folder), read_soft_prompt(alone))
    files = [tmp_path / side / "adapter_model.safetensors" for side in ("ours", "theirs")]
    for file in files:
        with safetensors.safe_open(file, "np") as tensors:
            assert tensors.metadata()["format"] == "pt"
            assert list(tensors.keys()) == ["prompt_embeddings"]
            assert tensors.get_slice("prompt_embeddings").get_dtype() == "F32"


def test_an_adapter_that_peft_made_is_read(tiny_folder, tmp_path):
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_folder)
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5)
    tuned = peft.get_peft_model(model, config)
    tuned.save_pretrained(str(tmp_path))
    ids = torch.arange(5)
    expected = tuned.prompt_encoder["default"](ids).detach().numpy()
    np.testing.assert_array_equal(read_soft_prompt(tmp_path, width=32), expected)


def test_adapters_of_other_methods_that_are_rows_all_the_same(tiny_folder, tmp_path):
    """Each is what PEFT itself puts before the input."""
    common = {"task_type": "CAUSAL_LM", "num_virtual_tokens": 5}
    kinds = {
        "p": peft.PromptEncoderConfig(encoder_hidden_size=8, **common),
        "one": peft.MultitaskPromptTuningConfig(num_tasks=1, **common),
        "two": peft.MultitaskPromptTuningConfig(num_tasks=2, **common),
    }
    for name, config in kinds.items():
        model = transformers.AutoModelForCausalLM.from_pretrained(tiny_folder)
        tuned = peft.get_peft_model(model, config).eval()
        tuned.save_pretrained(str(tmp_path / name))
        if name == "two":
            with pytest.raises(UserError, match="holds prompts for 2 tasks"):
                read_soft_prompt(tmp_path / name)
            continue
        task = torch.zeros(1, dtype=torch.long) if name == "one" else None
        with torch.no_grad():
            expected = tuned.get_prompt(1, task_ids=task)[0].numpy()
        found = read_soft_prompt(tmp_path / name, width=32)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_an_adapter_for_another_model_of_the_same_width_is_named(tiny_folder, tmp_path, caplog):
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_folder)
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5)
    peft.get_peft_model(model, config).save_pretrained(str(tmp_path))
    read_soft_prompt(tmp_path, "prompt.init", 5, 32, str(tiny_folder))
    read_soft_prompt(tmp_path, "prompt.init", 5, 32)
    assert caplog.messages == []
    read_soft_prompt(tmp_path, "prompt.init", 5, 32, "org/other")
    (told,) = caplog.messages
    assert f"was made for the model {tiny_folder}, and model.path is org/other" in told
