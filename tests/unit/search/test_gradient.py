"""Descent by gradients: equal to Adam by hand, never poisoned, compiled once, counted by hand."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiers import first

from jaxalign.config import base, freeze
from jaxalign.fitness import Evaluator, loss_of_prompt
from jaxalign.objective import Objective
from jaxalign.problem import load_problem
from jaxalign.search import gradient
from jaxalign.search.gradient import RELATIVE_RATE, Stopped, Store, descend, forward_equivalents

TARGET_LD = np.linspace(-1.0, 1.5, 6, dtype=np.float32).reshape(2, 3)
START_LD = np.zeros_like(TARGET_LD)


def survey_loss(graphdef, norm="l1"):
    """The loss of one soft prompt, from (weights, task): what a search minimises."""

    def loss(args, prompt_LD):
        return loss_of_prompt(Evaluator(graphdef, Objective(norm=norm)), *args, prompt_LD)[0]

    return loss


@pytest.fixture(scope="module")
def survey(tiny_folder):
    """Loss, arguments, start and rate on the tiny model; one loss, so that it compiles once."""
    config = base("embedded")
    config.country, config.model.path = "SA", str(tiny_folder)
    config.objective.formats = "identity"
    problem = load_problem(freeze(config))
    spread = float(jnp.std(problem.weights["embedding"][...]))
    start_LD = spread * jax.random.normal(jax.random.key(3), (2, problem.model_config.width))
    args = (problem.weights, problem.task)
    return survey_loss(problem.graphdef), args, start_LD, RELATIVE_RATE * spread


def quadratic(target_LD, prompt_LD):
    return jnp.sum((prompt_LD - target_LD) ** 2)


def crooked(args, prompt_LD):
    """Smooth, not convex, with another curvature along each coordinate."""
    return jnp.sum(jnp.sin(prompt_LD * args) ** 2) + jnp.prod(jnp.cosh(prompt_LD[0]))


def test_equals_adam_by_hand_on_finite_differences():
    args = jnp.asarray(TARGET_LD)
    start_LD = np.array([[0.3, -0.7, 0.2], [1.1, 0.4, -0.5]])
    steps, rate = 25, 0.05

    def reference(x):
        return np.sum(np.sin(x * TARGET_LD) ** 2) + np.prod(np.cosh(x[0]))

    x, first, second, expected = start_LD.copy(), 0.0, 0.0, []
    for step in range(steps):
        expected.append(reference(x))
        units = np.eye(6).reshape(6, 2, 3) * 1e-5
        slopes = [(reference(x + unit) - reference(x - unit)) / 2e-5 for unit in units]
        slope = np.reshape(slopes, x.shape)
        first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
        unbiased = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
        cosine = 0.5 * (1 + np.cos(np.pi * step / steps))
        x = x - rate * cosine * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)

    found = descend(crooked, args, start_LD, steps, rate)
    np.testing.assert_allclose(found.history_N, expected, rtol=1e-5)
    assert found.history_N.shape == (steps,) and found.history_N[-1] < found.history_N[0]
    assert found.prompt_LD.dtype == jnp.float32


def test_gradient_of_the_survey_agrees_with_finite_differences(survey):
    loss, args, start_LD, _ = survey
    # Adam's first step goes the rate down every slope, however steep.
    step_LD = descend(loss, args, start_LD, 2, 1e-5).prompt_LD - start_LD
    value = jax.jit(loss)
    units = 2e-3 * np.eye(start_LD.size, dtype=np.float32).reshape(-1, *start_LD.shape)[::3]
    rises = np.array(
        [value(args, start_LD + unit) - value(args, start_LD - unit) for unit in units]
    )
    clear = np.abs(rises) > 0.2 * np.abs(rises).max()
    assert clear.sum() > 5
    np.testing.assert_array_equal(np.sign(step_LD).ravel()[::3][clear], -np.sign(rises)[clear])


def test_reaches_the_optimum_of_a_quadratic_and_leaves_its_arguments_alone():
    start_LD, target_LD = jnp.asarray(START_LD), jnp.asarray(TARGET_LD)
    found = descend(quadratic, target_LD, start_LD, 300, 0.1)
    np.testing.assert_allclose(found.prompt_LD, TARGET_LD, atol=1e-3)
    np.testing.assert_allclose(found.loss, quadratic(TARGET_LD, found.prompt_LD), rtol=1e-6)
    np.testing.assert_array_equal(start_LD, START_LD)  # donated is a copy
    np.testing.assert_array_equal(target_LD, TARGET_LD)


def test_the_best_is_kept_when_the_loss_rises():
    found = descend(quadratic, TARGET_LD, TARGET_LD + 0.1, 3, 5.0)
    assert found.history_N[1:].min() > found.history_N[0] == found.loss
    np.testing.assert_array_equal(found.prompt_LD, TARGET_LD + np.float32(0.1))


@pytest.mark.parametrize("fault", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("part", first(1, ["loss", "gradient"]))
def test_what_is_not_finite_is_undone(part, fault):
    """Beyond a cliff at 0.5 nothing is finite; the optimum at 0.4 lies before it."""

    @jax.custom_jvp
    def slope_breaks(x_LD):
        return x_LD

    @slope_breaks.defjvp
    def _(primals, tangents):
        (x_LD,), (tangent_LD,) = primals, tangents
        return x_LD, tangent_LD * jnp.where(jnp.any(x_LD > 0.5), fault, 1.0)

    def cliff(target, prompt_LD):
        if part == "gradient":
            return jnp.sum((slope_breaks(prompt_LD) - target) ** 2)
        distance = jnp.sum((prompt_LD - target) ** 2)
        return jnp.where(jnp.any(prompt_LD > 0.5), fault, distance)

    found = descend(cliff, jnp.float32(0.4), START_LD, 150, 0.3)
    losses = found.history_N
    if part == "loss":
        assert 0 < np.sum(~np.isfinite(losses)) < 20  # it fell, and came back
    assert losses[1:].max(initial=0, where=np.isfinite(losses[1:])) <= losses[0]
    assert 0 <= found.loss < 1e-3
    np.testing.assert_allclose(found.prompt_LD, 0.4, atol=0.02)


def test_a_start_that_fails_is_given_back():
    found = descend(lambda args, prompt_LD: jnp.sum(prompt_LD) * args, np.nan, START_LD, 3, 0.1)
    assert np.isposinf(found.loss) and np.isnan(found.history_N).all()
    np.testing.assert_array_equal(found.prompt_LD, START_LD)


def test_the_loss_of_the_survey_falls(survey):
    loss, args, start_LD, rate = survey
    found = descend(loss, args, start_LD, 40, rate)
    assert found.loss < 0.8 * found.history_N[0]
    np.testing.assert_allclose(found.loss, jax.jit(loss)(args, found.prompt_LD), rtol=1e-4)


def test_starts_together_equal_starts_alone():
    args = jnp.asarray(TARGET_LD)
    starts_PLD = jax.random.normal(jax.random.key(0), (4, *TARGET_LD.shape))
    together = descend(crooked, args, starts_PLD, 20, 0.1)
    alone = [descend(crooked, args, start_LD, 20, 0.1) for start_LD in starts_PLD]
    assert together.history_N.shape == (20, 4) and together.prompt_LD.shape == starts_PLD.shape
    history = np.stack([one.history_N for one in alone], axis=1)
    np.testing.assert_allclose(together.history_N, history, rtol=1e-5)
    np.testing.assert_allclose(together.loss, [one.loss for one in alone], rtol=1e-5)
    best = np.stack([one.prompt_LD for one in alone])
    np.testing.assert_allclose(together.prompt_LD, best, rtol=1e-4, atol=1e-5)
    total = sum(one.evaluations_forward_equivalents for one in alone)
    np.testing.assert_allclose(together.evaluations_forward_equivalents, total, rtol=1e-9)


def test_one_start_of_several_fails_alone():
    def loss(args, prompt_LD):
        return jnp.where(prompt_LD[0, 0] > 5, jnp.nan, quadratic(args, prompt_LD))

    found = descend(loss, TARGET_LD, np.stack([START_LD, START_LD + 9]), 60, 0.1)
    alone = descend(loss, TARGET_LD, START_LD, 60, 0.1)
    np.testing.assert_allclose(found.loss, [alone.loss, np.inf], rtol=1e-4)


def test_one_compilation_whatever_the_steps_the_rate_and_the_arguments():
    def loss(args, prompt_LD):
        return quadratic(args, prompt_LD)

    before = gradient._step._cache_size()
    for other, steps, rate in ((0.0, 30, 0.1), (1.0, 50, 0.2)):
        descend(loss, jnp.asarray(TARGET_LD + other), jnp.asarray(START_LD - other), steps, rate)
    assert gradient._step._cache_size() == before + 1


def test_no_array_is_captured_and_the_state_is_donated(survey):
    loss, args, start_LD, _ = survey
    state = gradient._start(start_LD)
    scalars = jnp.float32(0.1), jnp.float32(9)
    jaxpr = jax.make_jaxpr(gradient._step, static_argnums=0)(loss, args, state, *scalars)
    assert sum(np.size(const) for const in jaxpr.consts) < 100
    with jax.transfer_guard("disallow"):
        gradient._step(loss, args, state, *scalars)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))


def test_losses_are_reported_in_order_and_one_step_late(monkeypatch):
    events, step = [], gradient._step

    def watched(*arguments):
        events.append("start")
        return step(*arguments)

    monkeypatch.setattr(gradient, "_step", watched)
    found = descend(quadratic, TARGET_LD, START_LD, 3, 0.1, lambda *loss: events.append(loss))
    reports = list(enumerate(found.history_N))
    assert events == ["start", "start", reports[0], "start", *reports[1:]]


def test_minibatches_lead_where_all_of_them_do():
    parts = [TARGET_LD + 1.0, TARGET_LD - 1.0]  # whose mean is the target
    found = descend(quadratic, TARGET_LD, START_LD, 400, 0.1, turns=parts)
    last = descend(
        quadratic,
        TARGET_LD,
        START_LD,
        400,
        0.1,
        turns=parts,
        score=functools.partial(quadratic, TARGET_LD),
    )
    assert found.history_N[0] == quadratic(parts[0], START_LD)
    assert abs(found.history_N[1] - quadratic(parts[1], START_LD)) < 0.1 * found.history_N[1]
    np.testing.assert_allclose(last.loss, quadratic(TARGET_LD, last.prompt_LD), rtol=1e-6)
    assert quadratic(TARGET_LD, last.prompt_LD) < 0.01 * quadratic(TARGET_LD, START_LD)


def test_the_prompt_of_the_least_score_is_kept():
    scored = []

    def score(prompt_LD):
        scored.append(np.asarray(prompt_LD))
        return abs(len(scored) - 2)  # least for the second one

    found = descend(quadratic, TARGET_LD, START_LD, 35, 0.1, score=score)
    assert len(scored) == 4
    np.testing.assert_array_equal(found.prompt_LD, scored[1])
    np.testing.assert_allclose(found.loss, quadratic(TARGET_LD, scored[1]), rtol=1e-6)


@pytest.mark.parametrize("stop", [1, 7, 20, 34, 35])
def test_a_descent_that_was_stopped_ends_with_the_same_bytes(tmp_path, stop):
    def score(prompt_LD):
        return quadratic(TARGET_LD, prompt_LD)

    def run(store, start_LD=START_LD):
        parts = [TARGET_LD + 1.0, TARGET_LD - 1.0, TARGET_LD]
        return descend(
            quadratic, TARGET_LD, start_LD, 35, 0.1, turns=parts, score=score, store=store
        )

    whole, file = run(None), tmp_path / "kept"
    with pytest.raises(Stopped) if stop < 35 else contextlib.nullcontext():
        run(Store(file, lambda step: step == stop))
    resumed = run(Store(file))
    for name in ("prompt_LD", "loss", "history_N"):
        np.testing.assert_array_equal(getattr(resumed, name), getattr(whole, name))

    other = run(Store(file), START_LD + 1.0)  # what is kept is of another descent
    np.testing.assert_array_equal(other.prompt_LD, run(None, START_LD + 1.0).prompt_LD)


def test_a_damaged_file_begins_the_descent_again(tmp_path, caplog):
    file = tmp_path / "kept"
    file.write_bytes(b"half")
    found = descend(quadratic, TARGET_LD, START_LD, 5, 0.1, store=Store(file))
    assert "begins again" in caplog.text
    whole = descend(quadratic, TARGET_LD, START_LD, 5, 0.1)
    np.testing.assert_array_equal(found.prompt_LD, whole.prompt_LD)


def stack(args, prompt_LD, remake=False, loop=True):
    """Products with frozen weights `[layers, D, D]`, in a loop or one after the other."""

    def layer(states_LD, weight_DD):
        return jnp.tanh(states_LD @ weight_DD), None

    layer = jax.checkpoint(layer) if remake else layer
    if loop:
        return jnp.sum(jax.lax.scan(layer, prompt_LD, args)[0])
    for weight_DD in args:
        prompt_LD, _ = layer(prompt_LD, weight_DD)
    return jnp.sum(prompt_LD)


WEIGHTS = jax.ShapeDtypeStruct((5, 64, 64), jnp.float32)
ROWS = jax.ShapeDtypeStruct((128, 64), jnp.float32)


@pytest.mark.parametrize("loop", [True, False])
@pytest.mark.parametrize(("remake", "expected"), [(False, 2.0), (True, 3.0)])
def test_cost_of_frozen_products(loop, remake, expected):
    loss = functools.partial(stack, remake=remake, loop=loop)
    assert forward_equivalents(loss, WEIGHTS, ROWS) == pytest.approx(expected, rel=0.04)


def test_cost_of_products_between_activations():
    def attend(args, prompt_LD):
        return jnp.sum((prompt_LD @ prompt_LD.T) @ prompt_LD)

    assert forward_equivalents(attend, None, ROWS) == pytest.approx(3.0, rel=0.05)


def test_cost_of_a_loop_agrees_with_what_xla_counts_once_unrolled():
    def loss(args, prompt_LD, loop):  # attention, dearer to differentiate, before frozen products
        gathered_LD = jax.nn.softmax(prompt_LD @ prompt_LD.T) @ prompt_LD
        return stack(args, gathered_LD, loop=loop)

    def flops(function):
        return jax.jit(function).lower(WEIGHTS, ROWS).compile().cost_analysis()["flops"]

    looped, unrolled = (functools.partial(loss, loop=loop) for loop in (True, False))
    expected = flops(jax.value_and_grad(unrolled, argnums=1)) / flops(unrolled)
    assert forward_equivalents(looped, WEIGHTS, ROWS) == pytest.approx(expected, rel=0.03)


def test_cost_of_a_descent_is_its_steps_times_the_cost_of_one(survey):
    loss, args, start_LD, rate = survey
    found = descend(loss, args, start_LD, 2, rate)
    one = forward_equivalents(loss, args, start_LD)
    assert found.evaluations_forward_equivalents == 2 * one
    assert 2.0 < one < 3.0  # products with weights, and some attention


@pytest.mark.parametrize(
    ("steps", "rate", "prompt_LD"),
    [(0, 0.1, START_LD), (3, 0.0, START_LD), (3, np.nan, START_LD), (3, 0.1, START_LD[0])],
)
def test_refuses(steps, rate, prompt_LD):
    with pytest.raises(ValueError, match=r"needs a step|prompt is"):
        descend(quadratic, TARGET_LD, prompt_LD, steps, rate)
