"""What a model writes beside what its option tokens say, on models in the real format."""

import dataclasses

import jax
import numpy as np
import pytest

from jaxalign.config import base, freeze
from jaxalign.evidence.written import WrittenAnswer, count_outcomes, write_answers
from jaxalign.problem import load_problem
from jaxalign.prompts import encode, question_text, render_chat
from jaxalign.survey import OPTION, REFUSAL, UNPARSED, Reading, read_written

LENGTH = 3


@pytest.fixture(scope="module")
def embedded():
    config = base("embedded")
    config.country = "SA"
    return load_problem(freeze(config))


def choices(problem):
    return [(item.labels, item.options, item.nonresponse) for item in problem.instrument.items]


def soft_prompt(problem, length=LENGTH):
    shape = (length, problem.model_config.width)
    return 0.3 * jax.random.normal(jax.random.key(2), shape)


def probabilities(problem, prompt_LD):
    arguments = (problem.weights, problem.task, prompt_LD[None])
    ask = jax.jit(problem.evaluator())
    return np.asarray(ask(*arguments, key=jax.random.key(0)).answers_PQA[0])


def theirs(problem, prompt_LD, items, limit):
    """Texts as transformers writes them from the same folder."""
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(problem.folder, dtype=torch.float32).eval()
    tokenizer, texts = problem.tokenizer, []
    stops = tokenizer.convert_tokens_to_ids(["<|eot_id|>", "<|end_of_text|>"])
    for item in items:
        asked = render_chat(tokenizer, question_text(problem.instrument, item))
        with torch.no_grad():
            rows = model.get_input_embeddings()(torch.tensor(encode(tokenizer, asked)))
            inputs = torch.cat([torch.tensor(np.asarray(prompt_LD)), rows])[None]
            mask = torch.ones(inputs.shape[:2], dtype=torch.long)
            written = model.generate(
                inputs_embeds=inputs,
                attention_mask=mask,
                do_sample=False,
                max_new_tokens=limit,
                eos_token_id=stops,
                pad_token_id=stops[0],
            )
        texts.append(tokenizer.decode(written[0], skip_special_tokens=True))
    return texts


@pytest.mark.parametrize("length", [0, LENGTH])
def test_the_embedded_model_writes_what_transformers_writes(embedded, length):
    prompt_LD = soft_prompt(embedded, length)
    answers_QA = probabilities(embedded, prompt_LD)
    answers = write_answers(
        embedded, embedded.task.layout, prompt_LD, choices(embedded), answers_QA, limit=5
    )
    assert len(answers) == 24
    some = [0, 6, 14, 17, 23]
    items = [embedded.instrument.items[place] for place in some]
    assert [answers[place].text for place in some] == theirs(embedded, prompt_LD, items, 5)
    for answer, item, row in zip(answers, embedded.instrument.items, answers_QA[:24], strict=True):
        assert answer.reading == read_written(answer.text, item.labels, item.options)
        assert answer.likeliest == row.argmax()
    assert sum(count_outcomes(answers).values()) == 24


def test_the_first_token_written_is_the_option_if_it_is_on_the_scale(embedded):
    no_rows = soft_prompt(embedded, 0)
    answers_QA = probabilities(embedded, no_rows)
    arguments = (embedded.task.layout, no_rows, choices(embedded), answers_QA)
    answers = write_answers(embedded, *arguments, limit=1)
    counts = count_outcomes(answers)
    assert counts["agree"] > 12  # it has learnt to begin with a label
    assert counts["disagree"] == 0
    shifted = np.roll(answers_QA, 1, axis=1)
    shifted = write_answers(embedded, *arguments[:3], shifted, limit=1)
    assert count_outcomes(shifted)["disagree"] == counts["agree"]


def test_only_the_first_questions_and_only_as_far_as_there_are_positions(tiny_problem):
    prompt_LD = soft_prompt(tiny_problem)
    answers_QA = probabilities(tiny_problem, prompt_LD)
    arguments = (tiny_problem.task.layout, prompt_LD, choices(tiny_problem)[:4], answers_QA)
    whole = write_answers(tiny_problem, *arguments, limit=6)
    assert len(whole) == 4
    longest = LENGTH + int(np.max(tiny_problem.task.layout.positions_T)) + 1
    config = dataclasses.replace(tiny_problem.model_config, max_positions=longest + 1)
    narrow = dataclasses.replace(tiny_problem, model_config=config)
    short = write_answers(narrow, *arguments, limit=6)
    by_limit = write_answers(tiny_problem, *arguments, limit=2)
    assert [each.text for each in short] == [each.text for each in by_limit]
    assert all(long.text.startswith(cut.text) for long, cut in zip(whole, short, strict=True))
    assert any(long.text != cut.text for long, cut in zip(whole, short, strict=True))


def test_outcomes_are_counted():
    given = [
        WrittenAnswer("3", Reading(2, OPTION, "label"), likeliest=2),
        WrittenAnswer("4", Reading(3, OPTION, "label"), likeliest=2),
        WrittenAnswer("1", Reading(0, OPTION, "label"), likeliest=0),
        WrittenAnswer("I cannot", Reading(None, REFUSAL, "refusal"), likeliest=0),
        WrittenAnswer("", Reading(None, UNPARSED, "nothing"), likeliest=0),
    ]
    expected = {"agree": 2, "disagree": 1, "refusal": 1, "unparsed": 1}
    assert count_outcomes(given) == expected
    assert count_outcomes([]) == dict.fromkeys(expected, 0)
