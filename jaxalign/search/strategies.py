"""Evolutionary strategies by name: evosax's algorithms behind one contract.

A strategy minimises. `init` wants an evaluated population, `ask` gives P candidates, `tell` takes
their losses; +inf marks a failed candidate, NaN must never arrive.
"""

import dataclasses
import inspect
import math
from contextlib import AbstractContextManager
from typing import Any

import evosax.algorithms
import jax
import jax.numpy as jnp
import optax
from evosax.algorithms.base import EvolutionaryAlgorithm
from evosax.algorithms.population_based.base import PopulationBasedAlgorithm

from jaxalign.errors import UserError

# evosax's own F = .8, CR = .9 make steps that are too long for prompts: see BUILD_NOTES.md.
DEFAULT_PARAMS: dict[str, dict[str, Any]] = {
    "DifferentialEvolution": {"differential_weight": 0.5, "crossover_rate": 0.5},
}
_LEAST = {"DifferentialEvolution": 4}
# Only compares losses, so it may see +inf: a failed member is then replaced by whatever comes next.
_COMPARES = {"DifferentialEvolution"}
_HOPELESS = 1e6  # above any loss of a survey, small enough to be averaged and squared


@dataclasses.dataclass(frozen=True)
class Strategy:
    """One evosax algorithm for candidates of shape `[L, D]`.

    Attributes:
      name: its name in evosax.
      algorithm: the instance; build one per run, for a second would compile again.
      params: the algorithm's parameters, a pytree; part of the run's state.
    """

    name: str
    algorithm: EvolutionaryAlgorithm
    params: Any

    @property
    def keeps_population(self) -> bool:
        """Whether the state holds a population (as DE does) and not a distribution (as CMA-ES)."""
        return isinstance(self.algorithm, PopulationBasedAlgorithm)

    def init(
        self, key: jax.Array, params: Any, population_PLD: jax.Array, loss_P: jax.Array
    ) -> Any:
        """State after the initial population; a distribution starts at its best member.

        Consumes the key.
        """
        with _evosax_rules():
            if self.keeps_population:
                return self.algorithm.init(key, population_PLD, self._usable(loss_P), params)
            return self.algorithm.init(key, population_PLD[jnp.argmin(loss_P)], params)

    def ask(self, key: jax.Array, params: Any, state: Any) -> tuple[jax.Array, Any]:
        """Candidates `[P, L, D]` and the state that `tell` wants. Consumes the key."""
        with _evosax_rules():
            return self.algorithm.ask(key, state, params)

    def tell(
        self, key: jax.Array, params: Any, population_PLD: jax.Array, loss_P: jax.Array, state: Any
    ) -> Any:
        """The next state. Consumes the key."""
        usable_P = self._usable(loss_P)
        with _evosax_rules():
            return self.algorithm.tell(key, population_PLD, usable_P, state, params)[0]

    def _usable(self, loss_P: jax.Array) -> jax.Array:
        """Failed candidates made as bad as the worst: one +inf in a mean makes a NaN state."""
        if self.name in _COMPARES:
            return loss_P
        finite_P = jnp.isfinite(loss_P)
        worst = jnp.max(jnp.where(finite_P, loss_P, -jnp.inf))
        return jnp.where(finite_P, loss_P, jnp.where(jnp.any(finite_P), worst, _HOPELESS))

    def accepted(self, before: Any, after: Any) -> jax.Array:
        """How many members of the kept population were replaced; -1 where none is kept."""
        if not self.keeps_population:
            return jnp.int32(-1)
        return jnp.sum(jnp.any(before.population != after.population, axis=-1), dtype=jnp.int32)


def _evosax_rules() -> AbstractContextManager:
    """Evosax broadcasts across ranks, which a strict caller may have forbidden for its own code."""
    return jax.numpy_rank_promotion("allow")


def strategy_names() -> list[str]:
    """Names of all algorithms that need nothing but a population size and a solution."""
    return sorted(
        name
        for name, member in vars(evosax.algorithms).items()
        if inspect.isclass(member)
        and issubclass(member, EvolutionaryAlgorithm)
        and not _unmet(member)
    )


def make_strategy(
    name: str, population: int, length: int, width: int, spread: float, params: dict[str, Any]
) -> Strategy:
    """Builds a strategy and its parameters.

    Args:
      name: of an evosax algorithm.
      population: P.
      length: L, rows of a candidate.
      width: D, their width.
      spread: standard deviation of the initial population around its mean; the first step length of
        an algorithm that has one, unless `params` says otherwise.
      params: values for fields of the algorithm's parameters, over our defaults for it.

    Raises:
      UserError: no such strategy or parameter, a wrong value, or too small a population.
    """
    cls: Any = getattr(evosax.algorithms, name, None)
    if name not in strategy_names():
        unmet = _unmet(cls) if inspect.isclass(cls) else []
        reason = f"it also needs {', '.join(unmet)}" if unmet else "evosax has no such algorithm"
        raise UserError(
            f"search.strategy={name!r}: {reason}; there are {', '.join(strategy_names())}"
        )
    least = _LEAST.get(name, 2)
    if population < least:
        raise UserError(f"search.population={population}: {name} needs at least {least}")
    options: dict[str, Any] = {"metrics_fn": _no_metrics}
    if "std_schedule" in inspect.signature(cls).parameters:
        options["std_schedule"] = optax.constant_schedule(spread)
    template_LD = jnp.zeros((length, width), jnp.float32)
    try:
        algorithm = cls(population_size=population, solution=template_LD, **options)
        defaults = algorithm.default_params
    except Exception as error:
        raise UserError(
            f"search.strategy={name!r} cannot start with a population of {population} and "
            f"{length * width} coordinates: {' '.join(str(error).split()) or type(error).__name__}"
        ) from error
    names = {field.name for field in dataclasses.fields(defaults)}
    chosen = DEFAULT_PARAMS.get(name, {}) | params
    if "std_init" in names:
        chosen = {"std_init": spread} | chosen
    return Strategy(name, algorithm, _replace(name, defaults, chosen))


def _replace(strategy: str, defaults: Any, chosen: dict[str, Any]) -> Any:
    """Sets parameters by name, each of its default's type, and makes every number an array."""
    faults = []
    values = {field.name: getattr(defaults, field.name) for field in dataclasses.fields(defaults)}
    numbers = {key for key, value in values.items() if jnp.isscalar(value)}
    for key, value in chosen.items():
        if key not in numbers:
            known = ", ".join(sorted(numbers)) or "none"
            faults.append(f"search.strategy_params.{key}: {strategy} has {known}")
            continue
        kind = type(values[key]) if isinstance(values[key], int) else float
        if (type(value) is kind or (kind is float and type(value) is int)) and math.isfinite(value):
            values[key] = kind(value)
        else:
            expected = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
            faults.append(f"search.strategy_params.{key}={value!r}: must be {expected}")
    if faults:
        raise UserError("; ".join(faults))
    # Strongly typed arrays, so that a restored checkpoint has the same types.
    return jax.tree.map(
        lambda leaf: jnp.asarray(leaf, jnp.asarray(leaf).dtype), defaults.replace(**values)
    )


def _unmet(cls: type) -> list[str]:
    """Constructor arguments without a default that we cannot supply."""
    return [
        name
        for name, parameter in inspect.signature(cls).parameters.items()
        if parameter.default is inspect.Parameter.empty
        and parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        and name not in ("population_size", "solution")
    ]


def _no_metrics(*_: Any) -> dict:
    """Evosax's own metrics would copy whole solutions every generation."""
    return {}
