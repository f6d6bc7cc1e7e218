"""Strategies by name: one table of ours and evosax's, and their parameters from a config.

A user's own class is named by its file: `mine.py:Mine`.
"""

import dataclasses
import functools
import importlib.util
import inspect
import itertools
import math
import os
import sys
from pathlib import Path
from typing import Any, get_args

import evosax.algorithms
import jax
import jax.numpy as jnp
import optax
from evosax.algorithms.base import EvolutionaryAlgorithm

from jaxalign.errors import UserError
from jaxalign.search.adaptive import LEAST
from jaxalign.search.contract import Strategy
from jaxalign.search.gauss_newton import GaussNewton
from jaxalign.search.gauss_newton_de import GaussNewtonDE
from jaxalign.search.jade import JADE
from jaxalign.search.jde import jDE
from jaxalign.search.lshade import LSHADE, lshade_evaluations, lshade_sizes
from jaxalign.search.random_search import RandomSearch
from jaxalign.search.shade import SHADE

# For prompts; evosax has F = .8 and CR = .9. docs/measurements.md has the figures.
DEFAULT_PARAMS: dict[str, dict[str, Any]] = {
    "DifferentialEvolution": {"differential_weight": 0.5, "crossover_rate": 0.5},
}
_RANGES: dict[str, dict[str, tuple[float, float]]] = {
    "DifferentialEvolution": {
        "crossover_rate": (0.0, 1.0),
        "differential_weight": (0.0, 2.0),
        "differential_weight_min": (0.0, 2.0),
        "differential_weight_max": (0.0, 2.0),
        "num_diff": (1, 100),
    },
}
_OURS: dict[str, type[EvolutionaryAlgorithm]] = {
    "GaussNewton": GaussNewton,
    "GaussNewtonDE": GaussNewtonDE,
    "JADE": JADE,
    "LSHADE": LSHADE,
    "RandomSearch": RandomSearch,
    "SHADE": SHADE,
    "jDE": jDE,
}
SHRINKING = ("GaussNewtonDE", "LSHADE")  # their population, by a plan
_REFUSED = {
    "SV_CMA_ES": "it moves several populations at once, and a search here holds one",
    "SV_Open_ES": "it moves several populations at once, and a search here holds one",
}
_LEAST = dict.fromkeys(
    ["DifferentialEvolution", "ESMC", "GaussNewtonDE", "jDE", "JADE", "SHADE", "LSHADE"], 4
)
_EVEN = {"ESMC"}  # refuses an odd population only when asked for candidates
_LEAST_COORDINATES = {"LM_MA_ES": 2}  # NaN with one
_WORDS = {bool: "true or false", int: "a whole number", float: "a number"}
_LARGEST = float(jnp.finfo(jnp.float32).max)
_LIMITS = {bool: (0, 1), int: (-(2**31), 2**31 - 1), float: (-_LARGEST, _LARGEST)}


def _table() -> dict[str, type[EvolutionaryAlgorithm]]:
    theirs = {
        name: member
        for name, member in vars(evosax.algorithms).items()
        if inspect.isclass(member)
        and issubclass(member, EvolutionaryAlgorithm)
        and name not in _REFUSED
    }
    return dict(sorted((theirs | _OURS).items()))


def strategy_names() -> list[str]:
    """Return the names of all algorithms that run here: evosax's class names, and ours."""
    return list(_table())


def is_ours(name: str) -> bool:
    """Return whether the algorithm is this package's own, and not evosax's."""
    return name in _OURS


def generations_for(name: str, population: int, evaluations: int, params: dict[str, Any]) -> int:
    """Return the largest number of generations that a budget of evaluations pays for.

    L-SHADE has more than others: its population shrinks on the way, by its own plan or by that of
    `max_evaluations` among the params.
    """
    if name not in SHRINKING:
        return evaluations // population - 1
    if planned := params.get("max_evaluations"):
        planned = max(planned, population + 1)  # the initial population shrinks after a generation
        sizes = itertools.chain(lshade_sizes(population, planned), itertools.repeat(LEAST))
        paid = itertools.takewhile(lambda spent: spent <= evaluations, itertools.accumulate(sizes))
        return sum(1 for _ in paid) - 1
    low, high = 0, evaluations
    while low < high:
        middle = (low + high + 1) // 2
        spent = sum(lshade_sizes(population, lshade_evaluations(population, middle)))
        low, high = (middle, high) if spent <= evaluations else (low, middle - 1)
    return low


def make_strategy(
    name: str,
    population: int,
    shape: tuple[int, ...],
    spread: float,
    params: dict[str, Any],
    generations: int = 1,
    *,
    rows: int = 1,
) -> Strategy:
    """Build a strategy and its parameters.

    Args:
      name: in the table, or `FILE.py:CLASS`.
      population: P.
      shape: of one candidate, such as `(L, D)`.
      spread: standard deviation of the initial population around its mean; the first step length of
        an algorithm that has one, unless `params` says otherwise.
      params: values for the algorithm's numbers, over our defaults for it: the fields of its
        parameters, the numbers that its constructor takes and, where it moves its mean by an
        optimiser, `step_scale`, a factor of the optimiser's steps.
      generations: of the whole run, for algorithms with a schedule.
      rows: of a soft prompt, where a candidate is one laid out along one axis.

    Raises:
      UserError: no such strategy or parameter, a wrong value, or too small a population.
    """
    cls: Any = _class_named(name)
    _check_sizes(name, population, math.prod(shape))
    params = DEFAULT_PARAMS.get(name, {}) | params
    try:
        own_ranges = getattr(cls, "param_ranges", None)
        ranges = own_ranges(population) if own_ranges else _RANGES.get(name, {})
        kinds = _constructor_numbers(cls)
        given = {key: params[key] for key in params if key in kinds}
        options, faults = _typed(given, kinds, ranges)
        algorithm = cls(
            population_size=population,
            solution=jnp.zeros(shape, jnp.float32),
            metrics_fn=_no_metrics,
            **_arguments(cls, options, spread, generations, rows),
        )
        defaults = algorithm.default_params
        fields = {one.name: getattr(defaults, one.name) for one in dataclasses.fields(defaults)}
    except Exception as error:  # evosax's refusals, and whatever a user's class raises
        raise UserError(
            f"search.strategy={name!r} cannot start with a population of {population} and "
            f"{math.prod(shape)} coordinates: "
            f"{' '.join(str(error).split()) or type(error).__name__}"
        ) from error

    numbers = {key: value for key, value in fields.items() if jnp.isscalar(value)}
    known = ", ".join(sorted(numbers.keys() | kinds.keys())) or "none"
    chosen = {"std_init": spread} | params if "std_init" in numbers else params
    unknown = [key for key in chosen if key not in numbers and key not in kinds]
    faults += [f"search.strategy_params.{key}: {name} has {known}" for key in unknown]
    values, wrong = _typed(
        {key: value for key, value in chosen.items() if key in numbers},
        {key: _kind(value) for key, value in numbers.items()},
        ranges,
    )
    faults += wrong
    if faults:
        raise UserError("; ".join(faults))
    # Strongly typed arrays, so that a restored checkpoint has the same types.
    strong = jax.tree.map(
        lambda leaf: jnp.asarray(leaf, jnp.asarray(leaf).dtype), defaults.replace(**values)
    )
    return Strategy(name, algorithm, strong, tuple(shape))


def _class_named(name: str) -> type[EvolutionaryAlgorithm]:
    """Return the class of the table, or of a user's file."""
    table = _table()
    if name in table:
        return table[name]
    if source := strategy_file(name):
        return _class_of_file(name, source)
    reason = _REFUSED.get(name, "there is no such strategy")
    raise UserError(
        f"search.strategy={name!r}: {reason}; there are {', '.join(table)}, or FILE.py:CLASS"
    )


def strategy_file(name: str) -> Path | None:
    """Return the file of a user's own strategy, `FILE.py:CLASS`; None for a name of the table."""
    path, colon, _ = name.rpartition(":")
    return Path(os.path.expanduser(path)) if colon and path.endswith(".py") else None


@functools.cache
def _class_of_file(name: str, path: Path) -> type[EvolutionaryAlgorithm]:
    """Cached, so that a class is one class for as long as the process lives."""
    spec = importlib.util.spec_from_file_location(f"_strategy_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there for what written-out types mean
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever the user's file raises
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise UserError(
            f"search.strategy={name!r}: {path} cannot be loaded ({type(error).__name__}: {reason})"
        ) from error
    cls = getattr(module, name.rpartition(":")[2], None)
    if not (inspect.isclass(cls) and issubclass(cls, EvolutionaryAlgorithm)):
        raise UserError(
            f"search.strategy={name!r}: {path} must have a class of that name, derived from an "
            "evosax algorithm"
        )
    return cls


def _check_sizes(name: str, population: int, coordinates: int) -> None:
    least = _LEAST.get(name, 2)
    if population < least:
        raise UserError(f"search.population={population}: {name} needs at least {least}")
    if name in _EVEN and population % 2:
        raise UserError(f"search.population={population}: {name} needs an even number")
    least = _LEAST_COORDINATES.get(name, 1)
    if coordinates < least:
        raise UserError(
            f"search.strategy={name!r} needs at least {least} coordinates, not {coordinates}"
        )


def _constructor_numbers(cls: type) -> dict[str, type]:
    """Numbers that an algorithm is built with, by name; a user may set them like parameters."""
    signature = inspect.signature(cls, eval_str=True)
    kinds = {}
    for name, parameter in signature.parameters.items():
        variants = set(get_args(parameter.annotation)) or {parameter.annotation}
        kind = variants - {type(None)}
        if len(kind) == 1 and kind <= {bool, int, float}:
            kinds[name] = kind.pop()
    for supplied in ("population_size", "generations", "rows"):
        kinds.pop(supplied, None)
    if "std_schedule" in signature.parameters:
        kinds["std_init"] = float
    if "optimizer" in signature.parameters:
        kinds["step_scale"] = float
    return kinds


def _arguments(
    cls: type, options: dict[str, Any], spread: float, generations: int, rows: int
) -> dict[str, Any]:
    """Return the constructor's arguments: the user's numbers, and what follows from the run."""
    parameters = inspect.signature(cls).parameters
    arguments = dict(options)
    std, scale = arguments.pop("std_init", spread), arguments.pop("step_scale", None)
    if "std_schedule" in parameters:
        arguments["std_schedule"] = optax.constant_schedule(std)
    if scale is not None:
        arguments["optimizer"] = optax.chain(parameters["optimizer"].default, optax.scale(scale))
    if "generations" in parameters:
        arguments["generations"] = generations
    if "rows" in parameters:
        arguments["rows"] = rows
    return arguments


def _typed(
    chosen: dict[str, Any], kinds: dict[str, type], ranges: dict[str, tuple[float, float]]
) -> tuple[dict[str, Any], list[str]]:
    """Values of their kinds and within their ranges, and a line for each that is not."""
    values, faults = {}, []
    for key, value in chosen.items():
        kind = kinds[key]
        low, high = ranges.get(key, _LIMITS[kind])
        fits = type(value) is kind or (kind is float and type(value) is int)
        if fits and low <= value <= high:
            values[key] = kind(value)
        else:
            bounds = f" from {low:.10g} to {high:.10g}" if key in ranges else ""
            faults.append(f"search.strategy_params.{key}={value!r}: must be {_WORDS[kind]}{bounds}")
    return values, faults


def _kind(value: Any) -> type:
    return type(value) if isinstance(value, int) else float


def _no_metrics(*_: Any) -> dict:
    """Evosax's own metrics would copy whole solutions every generation."""
    return {}
