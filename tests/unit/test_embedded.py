"""The embedded model: what it must show, and that its script makes it again."""

import numpy as np
import pytest
import safetensors.numpy

from jaxalign.fitness import Evaluator
from jaxalign.make_embedded.__main__ import NOTICE, make
from jaxalign.make_embedded.examples import END, NOBODY, Examples, make_form
from jaxalign.make_embedded.respondents import answer_distributions, country_answers
from jaxalign.model import load_model, read_notice, resolve
from jaxalign.objective import Objective, make_task
from jaxalign.prompts import (
    USUAL,
    ask_items,
    build_questions,
    encode,
    load_texts,
    load_tokenizer,
    parse_format,
    present,
    render_chat,
)
from jaxalign.survey import (
    item_means,
    load_instrument,
    load_targets,
    make_scoring,
    scores_from_means,
)

SEED = 0
FOUR = ("SA", "CN", "IN", "US")
OTHER = parse_format("cyclic2/letters")


@pytest.fixture(scope="module")
def survey():
    instrument = load_instrument("vsm13")
    scoring = make_scoring(instrument, None)
    targets = load_targets("hofstede2010", tuple(instrument.dimensions))
    return instrument, scoring, targets


@pytest.fixture(scope="module")
def model(survey):
    """Scores of the embedded model, given a system message or none."""

    import jax
    import jax.numpy as jnp

    folder = resolve("embedded")
    graphdef, weights, config = load_model(folder, "float32")
    tokenizer = load_tokenizer(folder)
    instrument, scoring, _ = survey
    run = jax.jit(Evaluator(graphdef, Objective()))

    def scores(system=None):
        questions = build_questions(instrument, tokenizer, system)
        task = make_task(questions, scoring, np.zeros((1, 6)))
        no_rows = jnp.zeros((1, 0, config.width))
        return np.asarray(run(weights, task, no_rows, key=jax.random.key(0)).scores_PC[0])

    return scores


def target(targets, code):
    return np.array(list(targets[code].scores.values()))


def test_size_notice_and_format():
    folder = resolve("embedded")
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 8 * 2**20
    assert read_notice(folder) == NOTICE and "without scientific meaning" in NOTICE
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {
        file.name for file in folder.iterdir()
    }
    assert "<|start_header_id|>" in load_tokenizer(folder).chat_template


def test_respondents_score_their_targets_exactly(survey):
    instrument, scoring, targets = survey
    targets_NC = np.array([target(targets, code) for code in targets])
    assert len(targets_NC) >= 20
    answers = country_answers(instrument, scoring, targets_NC, SEED)
    np.testing.assert_allclose(answers.sum(-1), 1.0)
    assert answers.min() > 0
    scores = scores_from_means(scoring, item_means(scoring, answers))
    np.testing.assert_allclose(scores, targets_NC, atol=1e-3)
    # In the null space countries differ in ways that no score shows.
    means_NQ = answers @ np.arange(1.0, 6.0)
    weights_CQ = scoring.weights_CQ
    free_NQ = means_NQ - means_NQ @ np.linalg.pinv(weights_CQ) @ weights_CQ
    assert np.std(free_NQ - free_NQ.mean(0)) > 0.05


def test_answer_distributions_have_their_mean_and_the_largest_entropy():
    means, values = np.array([1.3, 3.0, 4.4]), np.arange(1.0, 6.0)
    found = answer_distributions(means, values)
    np.testing.assert_allclose(found @ values, means, atol=1e-9)
    np.testing.assert_allclose(found[1], 0.2)
    rng = np.random.default_rng(0)
    null = np.linalg.svd(np.stack([np.ones(5), values]))[2][2:]  # keeps the sum and the mean
    entropy = -(found * np.log(found)).sum(-1)
    for _ in range(200):
        other = found + 0.01 * rng.normal(size=(3, 3)) @ null
        if (other > 0).all():
            assert (-(other * np.log(other)).sum(-1) < entropy).all()


def test_an_example_is_the_survey_with_a_persona(survey):
    instrument, _, _ = survey
    tokenizer, texts = load_tokenizer(resolve("embedded")), load_texts()
    forms = [make_form(tokenizer, instrument, shown) for shown in (USUAL, OTHER)]
    uniform = {code: np.full((24, 5), 0.2) for code in texts.countries}
    examples = Examples(tokenizer, forms, [0.5, 0.5], texts, uniform)
    persona = "We are asking an adult in Japan."
    batch = examples.batch([("JP", encode(tokenizer, persona), False, 1), (NOBODY, [], False, 0)])
    asked = build_questions(
        instrument, tokenizer, persona, presentations=present(instrument, OTHER)
    )
    for row, questions in enumerate([asked, build_questions(instrument, tokenizer)]):
        trie, size = questions.trie, questions.trie.size
        np.testing.assert_array_equal(batch.answer_ids_BQA[row], questions.answer_ids_QA)
        np.testing.assert_array_equal(batch.tokens_BS[row, :size], trie.tokens_T)
        np.testing.assert_array_equal(batch.positions_BS[row, :size], trie.positions_T)
        np.testing.assert_array_equal(batch.mask_BSS[row, :size, :size], trie.ancestors_TT())
        np.testing.assert_array_equal(batch.read_BQ[row], trie.answer_nodes_Q)
        assert not batch.mask_BSS[row, :size, size:].any()


def test_a_written_answer_is_followed_token_by_token_to_its_end(survey):
    instrument, _, _ = survey
    tokenizer = load_tokenizer(resolve("embedded"))
    for name, option in (("identity", 1), ("reversed/letters", 0)):
        shown = parse_format(name)
        form = make_form(tokenizer, instrument, shown, option)
        told = set()
        for node, after in zip(form.written_W.tolist(), form.next_W.tolist(), strict=True):
            path = []
            while node >= 0:
                path.append(int(form.trie.tokens_T[node]))
                node = int(form.trie.parents_T[node])
            told.add(tokenizer.decode([*path[::-1], after]))
        for one in ask_items(instrument, shown):
            text = render_chat(tokenizer, one.user) + one.labels[option]
            assert text + END in told
            assert sum(each.startswith(text[: text.rindex("\n") + 1]) for each in told) == len(
                encode(tokenizer, text)
            ) - len(encode(tokenizer, render_chat(tokenizer, one.user)))


def test_no_persona_answers_like_the_mixture_of_all(survey, model):
    instrument, scoring, targets = survey
    codes = list(load_texts().countries)
    targets_NC = np.array([target(targets, code) for code in codes])
    answers = country_answers(instrument, scoring, targets_NC, SEED)
    mixture = scores_from_means(scoring, item_means(scoring, answers.mean(0)))
    assert np.abs(model() - mixture).max() < 5.0


@pytest.mark.parametrize("code", FOUR)
def test_a_held_out_persona_is_at_most_a_third_of_naive(survey, model, code):
    _, _, targets = survey
    texts = load_texts()
    naive = np.abs(model() - target(targets, code)).sum()
    for wording in texts.held_out:
        persona = wording.format(country=texts.countries[code])
        loss = np.abs(model(persona) - target(targets, code)).sum()
        assert loss <= naive / 3, (persona, loss, naive)


@pytest.mark.nightly
def test_the_script_is_deterministic(tmp_path):
    for name in ("first", "second"):
        make(tmp_path / name, steps=3, batch_size=2, seed=1)
    first, second = (sorted((tmp_path / name).iterdir()) for name in ("first", "second"))
    assert [file.name for file in first] == [file.name for file in second]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
    make(tmp_path / "third", steps=3, batch_size=2, seed=2)
    weights = [
        safetensors.numpy.load_file(tmp_path / name / "model.safetensors")
        for name in ("first", "third")
    ]
    assert any((weights[0][key] != weights[1][key]).any() for key in weights[0])
