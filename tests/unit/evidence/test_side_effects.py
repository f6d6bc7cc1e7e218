"""What a prompt changes beside the survey, held to transformers and torch."""

import numpy as np
import pytest

from jaxalign.evidence.side_effects import measure_side_effects, read_requests
from jaxalign.model import AUTO
from jaxalign.prompts import encode, render_chat

PERSONA = "You are a typical person from Peru."


def test_no_prompt_changes_nothing(tiny_problem):
    none_LD = np.zeros((0, tiny_problem.model_config.width), np.float32)
    found = measure_side_effects(tiny_problem, none_LD, None, AUTO)
    assert found["methods"] == {"tuned": {"everyday": 0.0, "factual": 0.0, "same_first": 1.0}}
    kinds = [kind for kind, _ in read_requests()]
    assert kinds.count("everyday") == kinds.count("factual") == 12


def test_divergences_are_those_of_transformers(tiny_problem, tiny_folder):
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32).eval()
    rng = np.random.default_rng(0)
    prompt_LD = rng.normal(size=(3, tiny_problem.model_config.width)).astype(np.float32)
    found = measure_side_effects(tiny_problem, prompt_LD, PERSONA, AUTO)

    def log_probabilities(text, rows_LD=None, system=None):
        tokenizer = tiny_problem.tokenizer
        ids = torch.tensor([encode(tokenizer, render_chat(tokenizer, text, system))])
        embeddings = model.get_input_embeddings()(ids)
        if rows_LD is not None:
            embeddings = torch.cat([torch.tensor(rows_LD)[None], embeddings], 1)
        with torch.no_grad():
            return torch.log_softmax(model(inputs_embeds=embeddings).logits[0, -1], -1)

    for row in found["requests"][::6]:
        naive = log_probabilities(row["text"])
        changed = {
            "tuned": log_probabilities(row["text"], prompt_LD),
            "persona": log_probabilities(row["text"], system=PERSONA),
        }
        for method, theirs in changed.items():
            expected = float((naive.exp() * (naive - theirs)).sum())
            assert row["methods"][method]["divergence"] == pytest.approx(expected, abs=1e-5)
            first = tiny_problem.tokenizer.decode([int(theirs.argmax())])
            assert row["methods"][method]["first"] == first
