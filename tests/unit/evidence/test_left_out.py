"""A part that cannot be asked is left out with its reason, and ends nothing else."""

import dataclasses

import pytest

from jaxalign.errors import UserError
from jaxalign.evidence.asking import Asker
from jaxalign.evidence.baselines import Baselines
from jaxalign.evidence.culturalbench import ask_culturalbench
from jaxalign.evidence.parts import Parts
from jaxalign.prompts import load_texts
from jaxalign.survey import load_quizzes

# Takes one question, and no message before it.
NO_TURNS = (
    "{% if messages | length > 1 %}{{ raise_exception('one message, please') }}{% endif %}"
    "{{ '<|start_header_id|>user<|end_header_id|>' + messages[0]['content'] + '<|eot_id|>' }}"
)


@pytest.fixture
def prompt_LD(tiny_problem):
    import numpy as np

    return np.zeros((1, tiny_problem.model_config.width), np.float32)


def test_methods_that_a_template_refuses(tiny_problem, prompt_LD, monkeypatch):
    monkeypatch.setattr(tiny_problem.tokenizer, "chat_template", NO_TURNS)
    asker = Asker(tiny_problem)
    texts = load_texts("")
    methods, personas, skipped = Baselines(asker, tiny_problem, prompt_LD, "l1").texts(texts, 0)
    assert [method.name for method in methods] == ["persona (median)", "persona (best)"]
    # Without a system role personas stand before the question.
    assert len(personas) == len(texts.personas) + len(texts.held_out)
    assert len(skipped) == 8 and skipped[0]["name"] == "in-context, 1 answer"
    assert all("one message, please" in each["reason"] for each in skipped)


def test_texts_that_are_too_long_for_the_model(tiny_problem, prompt_LD):
    plain = Baselines(Asker(tiny_problem), tiny_problem, prompt_LD, "l1")
    texts = dataclasses.replace(
        load_texts(""), personas=("{country} " * 400,), held_out=("{country}",)
    )
    methods, personas, skipped = plain.texts(texts, 0)
    assert [each["text"] for each in personas] == ["Saudi Arabia"]
    assert (
        skipped[0]["name"].startswith("persona “Saudi Arabia Saudi")
        and "512" in (skipped[0]["reason"])
    )
    assert {"persona (median)", "in-context, 1 answer"} <= {method.name for method in methods}


def test_one_form_of_culturalbench_without_the_other(tiny_problem, prompt_LD):
    easy, hard = load_quizzes("fixture")
    long = dataclasses.replace(easy.questions[0], text="long " * 600)
    easy = dataclasses.replace(easy, questions=(long, *easy.questions))
    hard = dataclasses.replace(hard, questions=hard.questions[:8])
    found = ask_culturalbench(Asker(tiny_problem), easy, hard, prompt_LD, "SA", 0)
    assert "easy" not in found and len(found["hard"]["rows"]) > 0
    (left_out,) = found["left_out"]
    assert left_out["name"] == "CulturalBench-Easy" and "512" in left_out["reason"]
    with pytest.raises(UserError, match="512"):
        ask_culturalbench(Asker(tiny_problem), easy, None, prompt_LD, "SA", 0)


def test_a_part_that_cannot_be_asked_and_one_that_cannot_be_written(tmp_path):
    told = []
    parts = Parts(tmp_path / "parts", {}, lambda *each: told.append(each))

    def refuse():
        raise UserError("too long")

    assert parts.get_if_asked("quiz", refuse) is None
    assert parts.skipped == [{"name": "quiz", "reason": "too long"}]
    assert told == [("quiz", "left out: too long")]
    assert parts.get_if_asked("other", lambda: [1]) == [1]
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        Parts(tmp_path / "file", {}, print).get_if_asked("quiz", lambda: [1])
