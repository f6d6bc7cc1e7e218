"""The population forward: equal to separate passes, to torch, to a loop, to any chunk."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from tiers import every, first

from jaxalign.config import freeze
from jaxalign.fitness import Evaluator, Execution, choose_chunk, loss_of_prompt
from jaxalign.fitness.readout import answer_logits, read_answers
from jaxalign.objective import Objective
from jaxalign.problem import load_problem
from jaxalign.prompts import encode, question_text, render_chat
from jaxalign.run.engine import find_chunk

LENGTH = 3


@pytest.fixture
def population_PLD(tiny_problem):
    shape = (5, LENGTH, tiny_problem.model_config.width)
    return 0.3 * jax.random.normal(jax.random.key(1), shape)


def run(problem, population_PLD, count=None, *, chunk=1, **objective):
    evaluator = Evaluator(problem.graphdef, Objective(**objective), Execution(chunk))
    arguments = (problem.weights, problem.task, population_PLD)
    result = jax.jit(evaluator)(*arguments, key=jax.random.key(7), count=count)
    return jax.tree.map(np.asarray, result)


def trie_logits(problem, prompt_LD):
    def logits(weights, task, prompt_LD):
        return answer_logits(nnx.merge(problem.graphdef, weights), task.layout, prompt_LD)

    return np.asarray(jax.jit(logits)(problem.weights, problem.task, prompt_LD))


def sequences(problem):
    return [
        encode(
            problem.tokenizer, render_chat(problem.tokenizer, question_text(problem.instrument, i))
        )
        for i in problem.instrument.items
    ]


@pytest.mark.parametrize("length", every([0, 1, LENGTH], LENGTH))
def test_trie_equals_separate_forwards(tiny_problem, population_PLD, length):
    prompt_LD = population_PLD[0, :length]

    texts = sequences(tiny_problem)
    size = length + max(map(len, texts))

    @jax.jit  # compiled once: what pads a text comes after all that is read
    def alone(weights, prompt_LD, tokens, last, ids):
        model = nnx.merge(tiny_problem.graphdef, weights)
        inputs = jnp.concatenate([prompt_LD, model.embed(tokens)])
        hidden = model(inputs, jnp.arange(size), jnp.tri(size, dtype=bool), last[None])
        return model.option_logits(hidden, ids[None])[0]

    separate = [
        alone(
            tiny_problem.weights,
            prompt_LD,
            np.pad(ids, (0, size - length - len(ids))),
            jnp.int32(length + len(ids) - 1),
            answers,
        )
        for ids, answers in zip(texts, tiny_problem.questions.answer_ids_QA, strict=True)
    ]
    together = trie_logits(tiny_problem, prompt_LD)
    np.testing.assert_allclose(together, np.stack(separate), rtol=1e-5, atol=1e-5)
    assert np.std(together) > 0.1  # flat logits would agree whatever we did


@pytest.mark.parametrize("length", every([0, LENGTH], LENGTH))
def test_trie_equals_torch(tiny_problem, population_PLD, length):
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM

    theirs = AutoModelForCausalLM.from_pretrained(tiny_problem.folder, dtype=torch.float32).eval()
    prompt_LD = torch.tensor(np.asarray(population_PLD[0, :length]))
    expected = []
    with torch.no_grad():
        for ids, answers in zip(
            sequences(tiny_problem), tiny_problem.questions.answer_ids_QA, strict=True
        ):
            rows = theirs.get_input_embeddings()(torch.tensor(ids))
            logits = theirs(inputs_embeds=torch.cat([prompt_LD, rows])[None]).logits[0, -1]
            expected.append(logits[torch.tensor(answers)].numpy())
    together = trie_logits(tiny_problem, population_PLD[0, :length])
    np.testing.assert_allclose(together, np.stack(expected), rtol=1e-5, atol=1e-5)


def test_vmapped_equals_looped_equals_chunked(tiny_problem, population_PLD):
    together = run(tiny_problem, population_PLD, chunk=5)
    for chunk in first(2, (2, 64, 1, 3, 4)):
        chunked = run(tiny_problem, population_PLD, chunk=chunk)
        np.testing.assert_allclose(chunked.answers_PQA, together.answers_PQA, atol=2e-6)
    looped = [run(tiny_problem, one[None], chunk=1).scores_PC[0] for one in population_PLD]
    np.testing.assert_allclose(np.stack(looped), together.scores_PC, rtol=1e-5)
    assert np.ptp(together.loss_GP) > 1.0


def test_scores_and_loss_by_hand(tiny_problem, population_PLD):
    result = run(tiny_problem, population_PLD, chunk=2)
    m = {f"m{i + 1:02}": result.answers_PQA[:, i] @ np.arange(1.0, 6.0) for i in range(24)}
    pdi = 35 * (m["m07"] - m["m02"]) + 25 * (m["m20"] - m["m23"]) + 50
    np.testing.assert_allclose(result.scores_PC[:, 0], pdi, rtol=1e-5)
    target = np.array([95.0, 25, 60, 80, 36, 52])  # Saudi Arabia, hofstede2010
    np.testing.assert_allclose(
        result.loss_GP[0], np.abs(result.scores_PC - target).sum(1), rtol=1e-5
    )
    euclidean = run(tiny_problem, population_PLD, chunk=2, norm="l2").loss_GP[0]
    np.testing.assert_allclose(
        euclidean, np.linalg.norm(result.scores_PC - target, axis=1), rtol=1e-5
    )


def test_a_failed_candidate_does_not_affect_others(tiny_problem, population_PLD):
    broken = population_PLD.at[2].set(jnp.nan)
    for chunk in first(1, (2, 1, 5)):
        result, sound = (run(tiny_problem, p, chunk=chunk) for p in (broken, population_PLD))
        assert np.isposinf(result.loss_GP[0, 2])
        others = [0, 1, 3, 4]
        np.testing.assert_array_equal(result.loss_GP[:, others], sound.loss_GP[:, others])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-6, 6), min_size=5, max_size=5), st.integers(0, 2**31 - 1))
def test_readouts(logits, seed):
    logits_QA = jnp.array([logits, [0.0, 1.0, -jnp.inf, -jnp.inf, -jnp.inf]])
    key = jax.random.key(seed)
    expected = read_answers(logits_QA, Objective(), key)
    weights = np.exp(np.array(logits) - max(logits))
    np.testing.assert_allclose(expected[0], weights / weights.sum(), rtol=1e-5)
    assert (np.asarray(expected)[1, 2:] == 0).all()
    greedy = read_answers(logits_QA, Objective(readout="greedy"), key)
    assert np.asarray(greedy)[0].tolist().index(1.0) == int(np.argmax(np.float32(logits)))

    sampled = functools.partial(read_answers, logits_QA)
    few = np.asarray(sampled(Objective("sampled", respondents=4), key))
    np.testing.assert_array_equal(few * 4, np.round(few * 4))
    np.testing.assert_allclose(few.sum(-1), 1.0)
    assert (few[1, 2:] == 0).all()
    many = np.asarray(sampled(Objective("sampled", respondents=20_000), key))
    np.testing.assert_allclose(many, expected, atol=0.02)


def test_sampling_is_seeded_and_differs_between_candidates(tiny_problem, population_PLD):
    same = jnp.broadcast_to(population_PLD[:1], population_PLD.shape)
    first = run(tiny_problem, same, chunk=5, readout="sampled", respondents=5)
    again = run(tiny_problem, same, chunk=2, readout="sampled", respondents=5)
    np.testing.assert_array_equal(first.answers_PQA, again.answers_PQA)
    assert len({answers.tobytes() for answers in first.answers_PQA}) == len(same)


@pytest.mark.parametrize("chunk", every([1, 2, 3, 5], 2))
def test_only_the_first_candidates_are_evaluated(tiny_problem, population_PLD, chunk):
    whole = run(tiny_problem, population_PLD, chunk=chunk)
    for count in range(1, 6):
        part = run(tiny_problem, population_PLD, jnp.int32(count), chunk=chunk)
        np.testing.assert_array_equal(part.loss_GP[:, :count], whole.loss_GP[:, :count])
        assert np.isposinf(part.loss_GP[:, count:]).all()
        # What was left out was not computed: no answers stand there beyond the last chunk.
        beyond = -(-count // chunk) * chunk
        assert not part.answers_PQA[beyond:].any() and part.answers_PQA[:count].any()


def test_every_country_is_served_by_one_pass(tiny_config, population_PLD, tiny_problem):
    tiny_config.country = "sa,us,jp"
    several = load_problem(freeze(tiny_config))
    result = run(several, population_PLD, chunk=2)
    assert result.loss_GP.shape == (3, 5)
    for place, country in first(2, enumerate(["SA", "US", "JP"])):
        tiny_config.country = country
        alone = run(load_problem(freeze(tiny_config)), population_PLD, chunk=2)
        np.testing.assert_array_equal(result.loss_GP[place], alone.loss_GP[0])
        np.testing.assert_array_equal(result.scores_PC, alone.scores_PC)


def test_objectives_by_hand(tiny_config, population_PLD):
    tiny_config.country = "sa,cn"
    tiny_config.objective.culturalbench = "fixture"
    problem = load_problem(freeze(tiny_config))
    no_rows = jnp.zeros((1, 0, problem.model_config.width))
    naive_QA = run(problem, no_rows, chunk=1).answers_PQA[0]
    problem = dataclasses.replace(problem, task=problem.task.with_goal(naive_QA=naive_QA))
    weights = (("culturalbench_nll", 2.0), ("naive_distance", 0.5), ("survey", 1.0))
    result = run(problem, population_PLD, chunk=2, weights=weights)
    terms = dict(zip(problem.task.goal.terms, np.moveaxis(result.terms_GPO, -1, 0), strict=True))

    targets = np.array([[95.0, 25, 60, 80, 36, 52], [80, 20, 66, 30, 87, 24]])
    survey = np.abs(result.scores_PC[None] - targets[:, None]).sum(-1)
    np.testing.assert_allclose(terms["survey"], survey, rtol=1e-5)
    moved = np.abs(result.answers_PQA - naive_QA)[:, :24].sum(-1).mean(-1) / 2 * 100
    np.testing.assert_allclose(terms["naive_distance"], [moved, moved], rtol=1e-4)
    table_VD = np.asarray(problem.weights["embedding"][...])
    norm = (
        np.linalg.norm(population_PLD, axis=-1).mean(-1) / np.linalg.norm(table_VD, axis=-1).mean()
    )
    np.testing.assert_allclose(terms["prompt_norm"], [norm, norm], rtol=1e-5)
    for place in range(len(problem.targets)):
        asked = 4 * place + np.arange(4)  # four on each country, in the countries' order
        right = problem.questions.right_B[asked]
        answers = result.answers_PQA[:, 24:][:, asked]
        likely = np.take_along_axis(answers, right[None, :, None], axis=-1)[..., 0]
        np.testing.assert_allclose(
            terms["culturalbench_nll"][place], -np.log(likely).mean(-1), rtol=1e-4
        )
        wrong = 100 * (answers.argmax(-1) != right).mean(-1)
        np.testing.assert_allclose(terms["culturalbench_error"][place], wrong, atol=1e-3)
    total = terms["survey"] + 2 * terms["culturalbench_nll"] + 0.5 * terms["naive_distance"]
    np.testing.assert_allclose(result.loss_GP, total, rtol=1e-5)


def test_the_loss_that_is_differentiated_is_the_loss(tiny_problem, population_PLD):
    losses = run(tiny_problem, population_PLD, chunk=2).loss_GP
    one = jax.jit(functools.partial(loss_of_prompt, tiny_problem.evaluator()))
    ours = [one(tiny_problem.weights, tiny_problem.task, prompt_LD) for prompt_LD in population_PLD]
    np.testing.assert_allclose(np.stack(ours, 1), losses, rtol=1e-5)


def test_weights_and_task_are_arguments(tiny_problem, population_PLD):
    jaxpr = jax.make_jaxpr(tiny_problem.evaluator())(
        tiny_problem.weights, tiny_problem.task, population_PLD, key=jax.random.key(0)
    )
    assert sum(np.size(const) for const in jaxpr.consts) < 100


def test_never_materialises_logits_over_the_vocabulary(tiny_problem, population_PLD):
    evaluator = tiny_problem.evaluator(Execution(chunk=5))
    text = str(
        jax.make_jaxpr(evaluator)(
            tiny_problem.weights, tiny_problem.task, population_PLD, key=jax.random.key(0)
        )
    )
    vocabulary = tiny_problem.model_config.vocab_size
    shapes = {line for line in text.splitlines() if f",{vocabulary}]" in line}
    assert not shapes


@settings(max_examples=200, deadline=None)
@given(
    population=st.integers(1, 300),
    fits=st.integers(0, 400),
    start=st.floats(0, 10),
    fast=st.integers(1, 300),
)
def test_the_chosen_chunk_fits_and_is_the_fastest_tried(population, fits, start, fast):
    """Each chunk takes a fixed time and one for each candidate, twice that beyond `fast`."""
    tried = {}

    def seconds_of(chunk):
        assert chunk not in tried and 1 <= chunk <= population
        slow = chunk + max(0, chunk - fast)
        tried[chunk] = start + slow if chunk <= fits else math.inf
        return tried[chunk]

    chunk = choose_chunk(seconds_of, population)
    assert 1 <= chunk <= population and len(tried) < 16
    fitting = {each: seconds / each for each, seconds in tried.items() if seconds < math.inf}
    if fitting:
        assert fitting[chunk] == min(fitting.values())
        rounds = -(-population // chunk)
        assert -(-population // rounds) == chunk  # no smaller one needs as few rounds
    else:
        assert chunk == 1
        assert population == 1 or fits < 2 or tried == {}


@pytest.mark.parametrize(
    ("fits", "seconds_each", "chosen", "order"),
    [
        (64, lambda chunk: 1 / chunk, 64, [2, 8, 32, 64]),  # larger is faster
        (64, lambda chunk: chunk, 2, [2, 8]),  # and slower
        (20, lambda chunk: 1 / chunk, 16, [2, 8, 32, 16]),  # none above half of what fits not
        (9, lambda chunk: 1 / chunk, 8, [2, 8, 32, 16]),
        (1, lambda chunk: 1, 1, [2]),
    ],
)
def test_few_chunks_are_tried(fits, seconds_each, chosen, order):
    tried = []

    def seconds_of(chunk):
        tried.append(chunk)
        return chunk * seconds_each(chunk) if chunk <= fits else math.inf

    assert choose_chunk(seconds_of, 64) == chosen
    assert tried == order


def test_a_tpu_alone_finishes_the_inner_activations(tiny_problem):
    evaluator = tiny_problem.evaluator(Execution(2))
    weights, task = tiny_problem.weights, tiny_problem.task
    prompts_PLD = jax.ShapeDtypeStruct((2, LENGTH, tiny_problem.model_config.width), jnp.float32)
    prompt_LD = prompts_PLD.update(shape=prompts_PLD.shape[1:])
    key = jax.eval_shape(jax.random.key, 0)

    def loss(prompt_LD):
        return loss_of_prompt(evaluator, weights, task, prompt_LD)[0]

    def barriers(function, platform, *given, **named):
        lowered = jax.jit(function).trace(*given, **named).lower(lowering_platforms=(platform,))
        return lowered.as_text().count("stablehlo.optimization_barrier")

    for platform in ("tpu", "cpu", "cuda"):
        found = barriers(evaluator, platform, weights, task, prompts_PLD, key=key)
        assert (found > 0) == (platform == "tpu")
        assert barriers(jax.grad(loss), platform, prompt_LD) == 0


@pytest.mark.parametrize(("budget", "some"), [(0, False), (2**40, True)])
def test_a_chunk_is_found_by_trying(tiny_problem, population_PLD, budget, some):
    chunk = find_chunk(tiny_problem, Execution(), population_PLD, budget)
    assert (chunk in (2, 5)) if some else (chunk == 1)


def test_tasks_are_arrays_and_objectives_hashable(tiny_problem):
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(tiny_problem.task))
    assert hash(Objective()) == hash(dataclasses.replace(Objective()))


@pytest.mark.parametrize("readout", ["expected", "greedy", "sampled"])
def test_no_readout_hides_nan(readout):
    logits_QA = jnp.array([[1.0, jnp.nan, 0.0], [0.0, 1.0, -jnp.inf]])
    answers_QA = np.asarray(read_answers(logits_QA, Objective(readout), jax.random.key(0)))
    assert np.isnan(answers_QA[0]).all()
    np.testing.assert_allclose(answers_QA[1].sum(), 1.0, rtol=1e-6)
