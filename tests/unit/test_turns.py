"""Presentations that are asked some at a time: equal to asking each, and each in its turn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.config import freeze
from jaxalign.errors import UserError
from jaxalign.fitness import Execution
from jaxalign.objective import Objective, measure_answers
from jaxalign.problem import load_problem

POOL, AT_A_TIME, HELD = 5, 2, 3


@pytest.fixture(scope="module")
def problem(module_tiny_config):
    config = module_tiny_config
    config.search.strategy = "LSHADE"
    config.objective.formats = f"pool:{POOL}"
    config.objective.at_a_time = AT_A_TIME
    config.objective.reevaluate = HELD
    config.objective.culturalbench = "fixture"
    config.objective.terms.naive_distance = 0.5
    config.seed = 3  # words are among the labels that are tuned on
    return load_problem(freeze(config))


def test_a_part_is_answered_as_among_all_presentations(problem):
    assert "words" in {way.shown.labels for way in problem.sets.tune}
    length, width = 4, problem.model_config.width
    prompts_PLD = jax.random.normal(jax.random.key(1), (2, length, width))
    evaluate = jax.jit(problem.evaluator(Execution(2)))
    given = dict(key=jax.random.key(0))
    rows = np.asarray(problem.task.turns.rows_BQ)
    naive_QA = jax.random.uniform(jax.random.key(2), problem.task.goal.naive_QA.shape)
    task = problem.task.with_goal(naive_QA=naive_QA)
    whole = np.asarray(evaluate(problem.weights, task, prompts_PLD, **given).answers_PQA)
    for part, rows_Q in enumerate(rows):
        for generation in range(part * HELD, part * HELD + HELD):
            asked = task.at(jnp.int32(generation))
            np.testing.assert_array_equal(asked.goal.naive_QA, naive_QA[rows_Q])
        found = evaluate(problem.weights, asked, prompts_PLD, **given)
        np.testing.assert_allclose(found.answers_PQA, whole[:, rows_Q], atol=1e-5)
    again = task.at(jnp.int32(len(rows) * HELD))
    np.testing.assert_array_equal(again.layout.tokens_T, task.at(jnp.int32(0)).layout.tokens_T)


def test_every_question_has_a_turn(problem):
    rows = np.asarray(problem.task.turns.rows_BQ)
    assert len(rows) == -(-POOL // AT_A_TIME)
    quiz = len(problem.task.goal.right_B)
    assert set(rows.ravel()) == set(range(len(problem.questions.answer_ids_QA)))
    for rows_Q in rows:
        assert len(rows_Q) == AT_A_TIME * len(problem.instrument.items) + quiz
        assert len(set(rows_Q)) == len(rows_Q)


@pytest.mark.parametrize(
    "strategy, formats, reevaluate, message",
    [
        ("LSHADE", "identity,reversed,cyclic1", 5, "formats=pool:N"),
        ("LSHADE", "pool:2", 5, "formats=pool:N"),
        ("LSHADE", "pool:5", 0, "reevaluate=0"),
        ("GaussNewton", "pool:5", 5, "at_a_time=2; give 0"),
        ("CMA_ES", "pool:5", 5, "'CMA_ES' has no members"),
    ],
)
def test_mistakes_are_told(tiny_config, strategy, formats, reevaluate, message):
    tiny_config.search.strategy = strategy
    tiny_config.search.space = "full"
    tiny_config.objective.formats = formats
    tiny_config.objective.at_a_time = 2
    tiny_config.objective.reevaluate = reevaluate
    with pytest.raises(UserError, match=message):
        load_problem(freeze(tiny_config))


@pytest.mark.parametrize("tail, worst", [(1.0, 5), (0.4, 2), (0.3, 1.5), (0.01, 1)])
def test_the_tail_is_a_mean_of_the_worst(problem, tail, worst):
    rng = np.random.default_rng(0)
    questions, options = problem.task.goal.naive_QA.shape
    answers_PQA = rng.dirichlet(np.ones(options), (3, questions)).astype(np.float32)
    no_rows = np.zeros((3, 0, 1), np.float32)

    def losses(goal, answers_PQA, tail=1.0):
        return np.asarray(
            measure_answers(Objective(tail=tail), goal, no_rows, answers_PQA).loss_GP[0]
        )

    items = len(problem.instrument.items)
    goal = problem.task.with_goal(
        naive_QA=np.zeros((items, options)), right_B=np.zeros(0, int), asked_GB=np.zeros((1, 0))
    ).goal
    alone = [losses(goal, answers_PQA[:, way * items : (way + 1) * items]) for way in range(POOL)]
    falling_FP = -np.sort(-np.array(alone), axis=0)
    whole = int(worst)
    expected_P = falling_FP[:whole].sum(0) + (worst - whole) * falling_FP[min(whole, POOL - 1)]
    found_P = losses(problem.task.goal, answers_PQA, tail)
    np.testing.assert_allclose(found_P, expected_P / worst, rtol=1e-5)
