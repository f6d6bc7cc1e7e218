"""Every algorithm behind one contract: three generations, failed candidates, parameters by name."""

import dataclasses
import functools

import evosax.algorithms
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiers import every

from jaxalign.errors import UserError
from jaxalign.search import (
    ExpectedAnswers,
    Strategy,
    generations_for,
    make_strategy,
    strategy_names,
)
from jaxalign.search.lshade import lshade_sizes

P, L, D = 8, 2, 3
SHAPE = (L, D)
SPREAD = 0.3
# Learned algorithms, which load their networks when they are built; one takes over 3 seconds.
LEARNED = {"CMAAnchoredLES", "DiscoveredES", "EvoTF_ES", "LearnedES", "LearnedGA"}
NAMES = [
    pytest.param(name, marks=pytest.mark.nightly) if name == "CMAAnchoredLES" else name
    for name in strategy_names()
]
# Compile time, not run time, is what these tests cost.
OPTIONS = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
pytestmark = [
    # Within evosax's PGPE.
    pytest.mark.filterwarnings("ignore:optax.global_norm is deprecated:DeprecationWarning"),
]


def strong(state):
    """As a run carries it: without weak types, which would trace the second step again."""
    return jax.tree.map(
        lambda x: x if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else jnp.asarray(x, x.dtype),
        jax.tree.map(jnp.asarray, state),
    )


def answers_of(population_PLD):
    """As many answers as a candidate has coordinates, each at 0 when it is as wanted."""
    means_PFQ = population_PLD.reshape(len(population_PLD), 1, -1)
    count = means_PFQ.shape[-1]
    return ExpectedAnswers(means_PFQ, jnp.eye(count), jnp.zeros(count))


@dataclasses.dataclass
class Search:
    """A strategy on the sphere, each step jitted once."""

    strategy: Strategy

    def __post_init__(self):
        jit = functools.partial(jax.jit, compiler_options=OPTIONS)
        self.traces = []
        self.init, self.ask, self.tell = jit(self._init), jit(self._ask), jit(self._tell)
        self.key = jax.random.key(3)
        self.first_PLD = 1.0 + SPREAD * jax.random.normal(self.key, (P, L, D))

    def _init(self, key, params, population_PLD, loss_P):
        answers = answers_of(population_PLD)
        return strong(self.strategy.init(key, params, population_PLD, loss_P, answers))

    def _ask(self, key, params, state):
        self.traces.append("ask")
        return self.strategy.ask(key, params, state)

    def _tell(self, key, params, population_PLD, loss_P, state):
        self.traces.append("tell")
        answers = answers_of(population_PLD)
        return strong(self.strategy.tell(key, params, population_PLD, loss_P, state, answers))

    def run(self, failures: list[list[int]], params=None) -> list[np.ndarray]:
        """Populations of as many generations, in each of which these members fail."""
        params, populations = params or self.strategy.params, [self.first_PLD]
        state = None
        for generation, failed in enumerate(failures):
            key = jax.random.fold_in(self.key, generation)
            if state is not None:
                population_PLD, state = self.ask(key, params, state)
                populations.append(population_PLD)
            loss_P = jnp.sum(populations[-1] ** 2, axis=(1, 2))
            loss_P = loss_P.at[jnp.array(failed, int)].set(jnp.inf)
            if state is None:
                state = self.init(key, params, populations[0], loss_P)
            else:
                state = self.tell(key, params, populations[-1], loss_P, state)
        return [np.asarray(population_PLD) for population_PLD in populations]


@functools.cache
def search(name: str) -> Search:
    return Search(make_strategy(name, P, SHAPE, SPREAD, {}))


def fault(*arguments) -> str:
    with pytest.raises(UserError) as error:
        make_strategy(*arguments)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


FEW = ("GaussNewtonDE", "LSHADE", "DifferentialEvolution", "SNES", "CMA_ES", "PSO")


@pytest.mark.parametrize("name", every(NAMES, *FEW))
def test_runs_and_survives_failed_candidates(name):
    ours = search(name)
    everyone = list(range(P))
    populations = ours.run([[], [], [], []])
    assert ours.traces == ["ask", "tell"]
    for failures in ([[3], [], [], []], [[], [5], [], []], [[], [], everyone, []]):
        populations += ours.run(failures)
    assert ours.traces == ["ask", "tell"]
    for population_PLD in populations:
        assert population_PLD.shape == (P, L, D)
        assert population_PLD.dtype == np.float32
        assert np.isfinite(population_PLD).all()
    assert not np.array_equal(populations[1], populations[2])


@pytest.mark.parametrize(
    "name",
    every(["DifferentialEvolution", "SimpleGA", "SNES", "Sep_CMA_ES", "PSO"], "SNES", "PSO"),
)
def test_the_sphere_becomes_smaller(name):
    best = [np.sum(x**2, axis=(1, 2)).min() for x in search(name).run([[]] * 30)]
    assert min(best[-5:]) < 0.5 * best[0]


def test_all_that_can_be_built_are_listed():
    names = strategy_names()
    assert names == sorted(set(names))
    assert {"DifferentialEvolution", "CMA_ES", "Open_ES", "SimpleGA", "PSO"} <= set(names)
    assert {"jDE", "JADE", "SHADE", "LSHADE"} <= set(names)
    # All of evosax's 37 but the two that are refused, and ours, random search among them.
    theirs = {cls.__name__ for cls in evosax.algorithms.algorithms.values()}
    assert len(theirs) == 37
    assert theirs - set(names) == {"SV_CMA_ES", "SV_Open_ES"}
    assert len(names) == 41


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("SV_CMA_ES", "moves several populations at once"),
        ("SV_Open_ES", "moves several populations at once"),
    ],
)
def test_those_that_do_not_run_here_say_why(name, reason):
    message = fault(name, P, SHAPE, SPREAD, {})
    assert f"search.strategy={name!r}: " in message
    assert reason in message
    # And so it is: evosax wants an argument that a config cannot give.
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        getattr(evosax.algorithms, name)(population_size=P, solution=jnp.zeros(SHAPE))


def test_what_keeps_a_population_counts_replacements():
    de, snes = search("DifferentialEvolution"), search("SNES")
    assert de.strategy.keeps_population
    assert not snes.strategy.keeps_population
    assert int(snes.strategy.accepted(None, None)) == -1
    loss_P = jnp.arange(float(P))
    before = de.init(de.key, de.strategy.params, de.first_PLD, loss_P)
    trials_PLD = de.first_PLD + 1.0
    # Members 0, 1 and 2 are beaten, 3 ties, the others are not.
    trial_loss_P = loss_P + jnp.array([-1.0, -1, -1, 0, 1, 1, 1, jnp.inf])
    after = de.tell(de.key, de.strategy.params, trials_PLD, trial_loss_P, before)
    assert int(de.strategy.accepted(before, after)) == 4
    assert int(de.strategy.accepted(before, before)) == 0


@pytest.mark.parametrize(
    "name", every(["SNES", "Sep_CMA_ES", "SimpleES", "Open_ES", "HillClimbing", "PGPE"], "SNES")
)
def test_a_distribution_starts_at_the_best_member_and_as_wide_as_the_spread(name):
    strategy = make_strategy(name, 400, SHAPE, 0.02, {})
    members_PLD = jax.random.normal(jax.random.key(0), (400, L, D))
    loss_P = jnp.full(400, 5.0).at[7].set(1.0).at[0].set(jnp.inf)
    state = strategy.init(jax.random.key(1), strategy.params, members_PLD, loss_P)
    asked_PLD, _ = strategy.ask(jax.random.key(2), strategy.params, state)
    np.testing.assert_allclose(jnp.mean(asked_PLD, axis=0), members_PLD[7], atol=5e-3)
    np.testing.assert_allclose(jnp.std(asked_PLD - members_PLD[7:8]), 0.02, rtol=0.1)


def test_params_go_before_the_spread():
    assert float(make_strategy("SNES", P, SHAPE, 0.3, {}).params.std_init) == pytest.approx(0.3)
    chosen = make_strategy("SNES", P, SHAPE, 0.3, {"std_init": 7}).params.std_init
    assert float(chosen) == 7.0
    assert chosen.dtype == jnp.float32


def test_our_defaults_for_differential_evolution():
    params = make_strategy("DifferentialEvolution", P, SHAPE, SPREAD, {}).params
    assert float(params.differential_weight) == 0.5
    assert float(params.crossover_rate) == 0.5
    assert bool(params.elitism)
    chosen = {"crossover_rate": 0.9, "elitism": False}
    params = make_strategy("DifferentialEvolution", P, SHAPE, SPREAD, chosen).params
    assert float(params.crossover_rate) == pytest.approx(0.9)
    assert float(params.differential_weight) == 0.5
    assert not bool(params.elitism)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("DifferentialEvolution", {"differential_weight": 0.8}),
        ("DifferentialEvolution", {"crossover_rate": 0.9}),
        ("DifferentialEvolution", {"elitism": False}),
        ("PSO", {"inertia_coeff": 0.1}),
        ("SNES", {"std_init": 0.1}),
    ],
)
def test_params_reach_the_algorithm(name, params):
    default, same = search(name).run([[]] * 3), search(name).run([[]] * 3)
    chosen = make_strategy(name, P, SHAPE, SPREAD, params).params
    other = search(name).run([[]] * 3, chosen)
    np.testing.assert_array_equal(default[-1], same[-1])
    assert np.abs(default[-1] - other[-1]).max() > 1e-3


def test_params_are_strongly_typed_arrays():
    # A checkpoint gives back arrays without weak types: a weak one would compile a second time.
    for name in ("DifferentialEvolution", "SNES", "PSO", "NoiseReuseES"):
        for leaf in jax.tree.leaves(make_strategy(name, P, SHAPE, SPREAD, {}).params):
            assert isinstance(leaf, jax.Array)
            assert not leaf.weak_type


@pytest.mark.parametrize(
    ("name", "key", "value", "attribute"),
    [
        ("DifferentialEvolution", "num_diff", 2, "num_diff"),
        ("JADE", "archive_rate", 0, "archive_rate"),
        ("SHADE", "memory_size", 3, "memory_size"),
        ("LSHADE", "memory_size", 9, "memory_size"),
        ("DiffusionEvolution", "num_generations", 31, "num_generations"),
        ("Open_ES", "use_antithetic_sampling", False, "use_antithetic_sampling"),
    ],
)
def test_numbers_of_the_constructor_are_parameters_too(name, key, value, attribute):
    strategy = make_strategy(name, P, SHAPE, SPREAD, {key: value})
    assert getattr(strategy.algorithm, attribute) == value


def test_the_first_step_of_a_schedule_is_std_init():
    searched = Search(make_strategy("HillClimbing", P, SHAPE, SPREAD, {"std_init": 4.0}))
    wide = np.std(searched.run([[]] * 2)[1])
    assert wide > 5 * np.std(search("HillClimbing").run([[]] * 2)[1])


def test_step_scale_multiplies_the_optimisers_steps():
    moved = []
    for scale in (1.0, 10.0):
        strategy = make_strategy("Open_ES", P, SHAPE, SPREAD, {"step_scale": scale})
        searched = Search(strategy)
        loss_P = jnp.arange(float(P))
        state = searched.init(searched.key, strategy.params, searched.first_PLD, loss_P)
        trials_PLD, asked = searched.ask(searched.key, strategy.params, state)
        told = searched.tell(searched.key, strategy.params, trials_PLD, loss_P, asked)
        moved.append(np.asarray(told.mean - state.mean))
    np.testing.assert_allclose(moved[1], 10 * moved[0], rtol=1e-3)
    assert np.abs(moved[0]).min() > 0


def test_an_archive_of_none_is_none():
    searched = Search(make_strategy("JADE", P, SHAPE, SPREAD, {"archive_rate": 0.0}))
    state = searched.init(
        searched.key, searched.strategy.params, searched.first_PLD, jnp.arange(float(P))
    )
    trials_PLD, state = searched.ask(searched.key, searched.strategy.params, state)
    state = searched.tell(
        searched.key, searched.strategy.params, trials_PLD, state.fitness - 1.0, state
    )
    assert not state.archive.held.any()


def test_the_shrinking_takes_the_runs_generations():
    strategy = make_strategy("LSHADE", 64, SHAPE, SPREAD, {}, generations=80)
    sizes = [*lshade_sizes(64, int(strategy.params.max_evaluations))]
    assert len(sizes) == 81
    assert sizes[-1] == 4
    chosen = make_strategy("LSHADE", 64, SHAPE, SPREAD, {"max_evaluations": 999}, generations=80)
    assert int(chosen.params.max_evaluations) == 999


@pytest.mark.nightly
@pytest.mark.parametrize(
    "name", every([name for name in strategy_names() if name not in LEARNED], *FEW)
)
def test_one_coordinate(name):
    if name == "LM_MA_ES":
        message = fault(name, P, (1,), SPREAD, {})
        assert message == "search.strategy='LM_MA_ES' needs at least 2 coordinates, not 1"
        return
    strategy = make_strategy(name, P, (1,), SPREAD, {})
    key, candidates_P1 = jax.random.key(0), jax.random.normal(jax.random.key(1), (P, 1))
    loss_P, answers = candidates_P1[:, 0] ** 2, answers_of(candidates_P1)
    state = strong(strategy.init(key, strategy.params, candidates_P1, loss_P, answers))
    for number in range(4):
        key = jax.random.key(number)
        candidates_P1, state = strategy.ask(key, strategy.params, state)
        assert candidates_P1.shape == (P, 1)
        assert np.isfinite(candidates_P1).all()
        loss_P = candidates_P1[:, 0] ** 2
        state = strong(
            strategy.tell(
                key, strategy.params, candidates_P1, loss_P, state, answers_of(candidates_P1)
            )
        )


@pytest.mark.parametrize("name", ["DE", "differentialevolution", "", "EvolutionaryAlgorithm"])
def test_an_unknown_name_lists_those_there_are(name):
    message = fault(name, P, SHAPE, SPREAD, {})
    assert f"search.strategy={name!r}" in message
    assert all(known in message for known in strategy_names())


def test_an_unknown_parameter_lists_those_there_are():
    message = fault("DifferentialEvolution", P, SHAPE, SPREAD, {"F": 0.5, "CR": 0.1})
    assert "search.strategy_params.F: " in message
    assert "search.strategy_params.CR: " in message
    assert "crossover_rate, differential_weight" in message


@pytest.mark.parametrize(
    ("name", "key", "value", "expected"),
    [
        ("DifferentialEvolution", "crossover_rate", "0.5", "a number from 0 to 1"),
        ("DifferentialEvolution", "crossover_rate", True, "a number from 0 to 1"),
        ("DifferentialEvolution", "crossover_rate", None, "a number from 0 to 1"),
        ("DifferentialEvolution", "crossover_rate", [0.5], "a number from 0 to 1"),
        ("DifferentialEvolution", "crossover_rate", float("nan"), "a number from 0 to 1"),
        ("DifferentialEvolution", "crossover_rate", 1.5, "a number from 0 to 1"),
        ("DifferentialEvolution", "differential_weight", -0.5, "a number from 0 to 2"),
        ("DifferentialEvolution", "num_diff", 0, "a whole number from 1 to 100"),
        ("jDE", "weight_change", 1.01, "a number from 0 to 1"),
        ("jDE", "weight_low", 2.5, "a number from 0 to 2"),
        ("jDE", "elitism", 0.5, "true or false"),
        ("JADE", "learning_rate", -0.1, "a number from 0 to 1"),
        ("JADE", "best_share", 2, "a number from 0 to 1"),
        ("JADE", "archive_rate", -1.0, "a number from 0 to 10"),
        ("SHADE", "memory_size", 0, "a whole number from 1 to 10000"),
        ("SHADE", "memory_size", 5.0, "a whole number from 1 to 10000"),
        ("LSHADE", "max_evaluations", 7, "a whole number from 8 to 2147483583"),
        ("LSHADE", "initial_rate", "half", "a number from 0 to 1"),
        ("SNES", "std_init", float("inf"), "a number"),
        ("NoiseReuseES", "K", 2**31, "a whole number"),
        ("Open_ES", "use_antithetic_sampling", 0, "true or false"),
        ("Open_ES", "step_scale", "10", "a number"),
        ("DifferentialEvolution", "elitism", 1, "true or false"),
        ("DifferentialEvolution", "elitism", "no", "true or false"),
        ("NoiseReuseES", "K", 2.7, "a whole number"),
        ("NoiseReuseES", "K", True, "a whole number"),
    ],
)
def test_a_parameter_of_the_wrong_type(name, key, value, expected):
    message = fault(name, P, SHAPE, SPREAD, {key: value})
    assert message == f"search.strategy_params.{key}={value!r}: must be {expected}"


def test_a_whole_number_where_a_number_is_due():
    params = make_strategy("DifferentialEvolution", P, SHAPE, SPREAD, {"crossover_rate": 1}).params
    assert params.crossover_rate.dtype == jnp.float32
    params = make_strategy("NoiseReuseES", P, SHAPE, SPREAD, {"K": 5}).params
    assert params.K.dtype == jnp.int32


def test_a_population_that_is_too_small():
    message = fault("DifferentialEvolution", 3, SHAPE, SPREAD, {})
    assert message == "search.population=3: DifferentialEvolution needs at least 4"
    make_strategy("DifferentialEvolution", 4, SHAPE, SPREAD, {})
    assert "needs at least 2" in fault("SNES", 1, SHAPE, SPREAD, {})
    for name in ("jDE", "JADE", "SHADE", "LSHADE"):
        assert fault(name, 3, SHAPE, SPREAD, {}).endswith(f"{name} needs at least 4")
    assert fault("ESMC", 7, SHAPE, SPREAD, {}).endswith("ESMC needs an even number")


def test_a_population_that_an_algorithm_refuses_is_a_user_error():
    for name in set(strategy_names()) - LEARNED:
        try:
            make_strategy(name, 3, SHAPE, SPREAD, {})
        except UserError as error:
            assert "population of 3" in str(error) or "at least" in str(error)
            assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize("planned", every([8, 30, 10_000], 30))
def test_generations_that_a_plan_of_the_users_own_pays_for(planned):
    generations = generations_for("LSHADE", 8, 61, {"max_evaluations": planned})
    strategy = make_strategy("LSHADE", 8, (2, 3), 1.0, {"max_evaluations": planned}, generations)
    population = jax.random.normal(jax.random.key(0), (8, 2, 3))
    state = strategy.init(jax.random.key(1), strategy.params, population, jnp.zeros(8))
    for _ in range(generations):
        vectors, asked = strategy.ask(jax.random.key(2), strategy.params, state)
        state = strategy.tell(jax.random.key(3), strategy.params, vectors, jnp.zeros(8), asked)
    assert int(state.evaluations) <= 61 < int(state.evaluations) + int(state.size)
