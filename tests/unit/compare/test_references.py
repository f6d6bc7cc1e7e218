"""The outside optimisers: what the packages do when called by hand, within the budget."""

import sys

import cma
import numpy as np
import pytest
from scipy.optimize import differential_evolution

from jaxalign.compare.references import cma_subspace, random_projection, scipy_de
from jaxalign.errors import UserError

N, M, P = 6, 4, 8
LOW, HIGH = np.full(N, -2.0, np.float32), np.full(N, 3.0, np.float32)
ORIGIN = np.linspace(-1, 1, N, dtype=np.float32)
PROJECTION = random_projection(M, N, spread=1.0, seed=6)


def sphere(vectors_BN: np.ndarray) -> np.ndarray:
    return np.sum((vectors_BN.astype(float) - 0.5) ** 2, axis=1)


def first_population() -> np.ndarray:
    return np.random.default_rng(3).uniform(LOW, HIGH, (P, N)).astype(np.float32)


def by_scipy(losses, evaluations: int, seed: int):
    return scipy_de(losses, first_population(), LOW, HIGH, evaluations=evaluations, seed=seed)


def by_cma(losses, evaluations: int, seed: int):
    return cma_subspace(
        losses, PROJECTION, ORIGIN, evaluations=evaluations, seed=seed, population=P
    )


BOTH = pytest.mark.parametrize("optimise", [by_scipy, by_cma])


class Counted:
    """An objective that remembers what it was asked."""

    def __init__(self, losses=sphere):
        self.losses = losses
        self.asked: list[np.ndarray] = []

    def __call__(self, vectors_BN: np.ndarray) -> np.ndarray:
        assert vectors_BN.dtype == np.float32
        self.asked.append(vectors_BN.copy())
        return self.losses(vectors_BN)


@BOTH
@pytest.mark.parametrize("evaluations", [P, 5 * P, 5 * P + 3, 6 * P - 1])
def test_the_budget_is_spent_in_whole_generations_and_never_exceeded(optimise, evaluations: int):
    losses = Counted()
    history = optimise(losses, evaluations, 0)
    generations = evaluations // P
    assert [len(asked) for asked in losses.asked] == [P] * generations
    assert [spent for spent, _ in history] == [P * (g + 1) for g in range(generations)]


@BOTH
def test_the_history_is_the_best_loss_so_far(optimise):
    losses = Counted()
    history = optimise(losses, 20 * P, 0)
    of_generation = [sphere(asked).min() for asked in losses.asked]
    assert [best for _, best in history] == np.minimum.accumulate(of_generation).tolist()
    assert history[-1][1] < 0.5 * history[0][1]


@BOTH
def test_a_seed_is_a_run_whatever_the_global_generator_holds(optimise):
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    one = optimise(sphere, 6 * P, 7)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    np.random.seed(2)
    assert optimise(sphere, 6 * P, 7) == one
    assert optimise(sphere, 6 * P, 8) != one


@BOTH
def test_no_early_stop_where_all_losses_are_equal(optimise):
    history = optimise(lambda vectors_BN: np.ones(len(vectors_BN)), 30 * P, 0)
    assert history == [(P * g, 1.0) for g in range(1, 31)]


@BOTH
def test_failed_candidates_never_win_and_never_stop_the_search(optimise):
    def losses(vectors_BN):
        return np.where(vectors_BN[:, 0] > 0.5, np.inf, sphere(vectors_BN))

    history = optimise(losses, 30 * P, 0)
    assert len(history) == 30
    assert np.isfinite(history[-1][1])
    assert history[-1][1] < history[0][1]


@BOTH
def test_generations_that_fail_as_a_whole_cost_what_they_cost(optimise):
    calls = 0

    def losses(vectors_BN):
        nonlocal calls
        calls += 1
        return np.full(P, np.inf) if calls <= 3 else sphere(vectors_BN)

    history = optimise(losses, 10 * P + 1, 0)
    assert calls == 10
    assert [spent for spent, _ in history] == [P * g for g in range(1, 11)]
    assert np.isinf([best for _, best in history]).tolist() == [True] * 3 + [False] * 7


@BOTH
def test_a_budget_below_one_generation_is_refused(optimise):
    with pytest.raises(UserError, match=f"{P - 1} evaluations do not pay for .* {P}"):
        optimise(sphere, P - 1, 0)


def test_scipy_de_is_scipys():
    result = differential_evolution(
        lambda vectors_NB: sphere(vectors_NB.T.astype(np.float32)),
        list(zip(LOW, HIGH, strict=True)),
        init=first_population(),
        maxiter=19,
        rng=np.random.default_rng(11),
        polish=False,
        updating="deferred",
        vectorized=True,
        tol=0,
    )
    history = by_scipy(sphere, 20 * P, 11)
    assert history[-1] == (20 * P, result.fun)


def test_scipy_de_takes_scipys_settings():
    default = by_scipy(sphere, 10 * P, 0)
    for settings in ({"strategy": "rand1bin"}, {"mutation": 0.5}, {"recombination": 0.2}):
        other = scipy_de(
            sphere, first_population(), LOW, HIGH, evaluations=10 * P, seed=0, **settings
        )
        assert other[0] == default[0]
        assert other != default


def test_scipy_de_starts_from_the_population_and_keeps_to_the_bounds():
    losses = Counted()
    population = first_population()
    population[0, 0], population[1, 1] = 9.0, -9.0
    scipy_de(losses, population, LOW, HIGH, evaluations=20 * P, seed=0)
    np.testing.assert_allclose(losses.asked[0], np.clip(population, LOW, HIGH), rtol=1e-6)
    for asked in losses.asked:
        assert (asked >= LOW).all()
        assert (asked <= HIGH).all()


def test_cma_subspace_is_pycmas():
    generator = np.random.default_rng(11)
    search = cma.CMAEvolutionStrategy(
        M * [0.0],
        1.0,
        {"popsize": P, "verbose": -9, "seed": np.nan,
         "randn": lambda *shape: generator.standard_normal(shape)},
    )  # fmt: skip
    best = []
    for _ in range(25):
        z_PM = search.ask()
        prompts = [ORIGIN + z_M.astype(np.float32) @ PROJECTION for z_M in z_PM]
        loss_P = sphere(np.stack(prompts))
        search.tell(z_PM, loss_P.tolist())
        best.append(loss_P.min())
    history = by_cma(sphere, 25 * P, 11)
    np.testing.assert_allclose(
        [loss for _, loss in history], np.minimum.accumulate(best), rtol=1e-5
    )


def test_cma_subspace_leaves_the_origin_only_along_the_projection():
    losses = Counted()
    by_cma(losses, 5 * P, 0)
    moves = np.concatenate(losses.asked) - ORIGIN
    assert np.linalg.matrix_rank(moves, tol=1e-4) == M
    assert np.linalg.matrix_rank(np.concatenate([moves, PROJECTION]), tol=1e-4) == M


def test_cma_subspace_ranks_a_failed_candidate_with_the_worst():
    """The states of two searches stay equal, one told +inf, one told the worst finite loss."""

    def failed(vectors_BN):
        loss_B = sphere(vectors_BN)
        loss_B[3] = np.inf
        return loss_B

    def worst(vectors_BN):
        loss_B = sphere(vectors_BN)
        loss_B[3] = np.delete(loss_B, 3).max()
        return loss_B

    one, other = Counted(failed), Counted(worst)
    by_cma(one, 12 * P, 0)
    by_cma(other, 12 * P, 0)
    np.testing.assert_array_equal(one.asked, other.asked)


def test_a_projection_and_the_steps_along_it_are_drawn_apart():
    """From one generator float32 numbers have the signs of every second float64 one."""
    agree = 0.0
    for seed in range(200):
        steps = np.random.default_rng(seed).standard_normal(20)
        agree += np.mean(np.sign(random_projection(1, 40, 1.0, seed)[0, ::2]) == np.sign(steps))
    assert abs(agree / 200 - 0.5) < 0.05


def test_the_projection_gives_a_prompt_the_spread_of_the_embeddings():
    projection = random_projection(50, 4000, spread=0.3, seed=1, sigma=2.0)
    assert projection.shape == (50, 4000)
    assert projection.dtype == np.float32
    z_BM = 2.0 * np.random.default_rng(2).standard_normal((100, 50))
    assert np.std(z_BM @ projection) == pytest.approx(0.3, rel=0.03)
    np.testing.assert_array_equal(projection, random_projection(50, 4000, 0.3, 1, 2.0))
    assert (projection != random_projection(50, 4000, 0.3, 2, 2.0)).any()


@pytest.mark.parametrize(
    ("optimise", "module", "package"),
    [(by_scipy, "scipy.optimize", "scipy"), (by_cma, "cma", "cma")],
)
def test_a_missing_package_is_told_in_one_line(monkeypatch, optimise, module: str, package: str):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError) as caught:
        optimise(sphere, 2 * P, 0)
    assert str(caught.value) == f"compare: {package} is not installed; install jaxalign[compare]"


def test_what_the_packages_cannot_do_is_told_in_one_line():
    with pytest.raises(UserError, match="at least 5"):
        scipy_de(sphere, first_population()[:4], LOW, HIGH, evaluations=100, seed=0)
    with pytest.raises(UserError, match="at least 2"):
        cma_subspace(sphere, PROJECTION, ORIGIN, evaluations=100, seed=0, population=1)
