"""The base config: every key, its default, and what it may be."""

import json
import math
from collections.abc import Callable
from typing import Any

from ml_collections import config_dict

from jaxalign.errors import UserError

EMBEDDED = "embedded"
LLAMA = "meta-llama/Meta-Llama-3-8B-Instruct"


def base(variant: str = "") -> config_dict.ConfigDict:
    """The config that every file in configs/ starts from.

    Args:
      variant: what stands after the colon in `--config=NAME:VARIANT`; empty for
        Llama-3-8B-Instruct, `embedded` for the model in the package at sizes that suit a laptop.

    Raises:
      UserError: there is no such variant.
    """
    if variant not in ("", EMBEDDED):
        raise UserError(f"--config=…:{variant}: no such variant; give :{EMBEDDED} or none")
    small = variant == EMBEDDED
    config = config_dict.ConfigDict()
    config.seed = 0
    config.country = ""  # a code or name that survey.targets holds
    config.workdir = ""  # empty: runs/COUNTRY-MODEL in the current folder

    config.model = config_dict.ConfigDict()
    config.model.path = EMBEDDED if small else LLAMA  # a folder, a hub id, or `embedded`
    config.model.revision = ""  # of a hub id; empty for its main branch
    config.model.dtype = "float32" if small else "bfloat16"

    config.survey = config_dict.ConfigDict()
    config.survey.instrument = "vsm13"  # or the path of a YAML file
    config.survey.coefficients = ""  # a set of the instrument; empty for its first
    config.survey.targets = "hofstede2010"  # `newer`, or the path of a CSV file
    config.survey.constant = config_dict.placeholder(object)  # C: a number, or one per dimension
    config.survey.constant = 50.0

    config.prompt = config_dict.ConfigDict()
    config.prompt.length = 9 if small else 16  # L, in embedding rows
    config.prompt.init = "texts"  # texts, vocabulary, normal
    config.prompt.position = "first"  # before everything else, as PEFT has it

    config.search = config_dict.ConfigDict()
    config.search.strategy = "DifferentialEvolution"  # any evosax algorithm
    config.search.strategy_params = config_dict.ConfigDict()  # e.g. {"crossover_rate": 0.9}
    config.search.space = "full"  # every coordinate of the prompt
    config.search.population = 64  # P
    config.search.generations = 80 if small else 200
    config.search.bounds = "none"  # or `vocabulary`: each coordinate within the embedding table's

    config.objective = config_dict.ConfigDict()
    config.objective.readout = "expected"  # expected, sampled, greedy
    config.objective.respondents = 50  # of a sampled readout
    config.objective.norm = "l1"  # l1, l2

    config.evaluation = config_dict.ConfigDict()
    config.evaluation.chunk = 0  # candidates at a time; 0 chooses from the memory there is

    config.mesh = config_dict.ConfigDict()
    config.mesh.population = 1
    config.mesh.model = 1

    config.checkpoint = config_dict.ConfigDict()
    config.checkpoint.every = 1  # generations between checkpoints
    config.checkpoint.keep = 100  # besides the latest two and the best, every k-th; 0 for none
    return config


def _at_least(bound: int) -> tuple[Callable[[Any], bool], str]:
    return lambda value: value >= bound, f"a whole number of at least {bound}"


def _one_of(*names: str | int) -> tuple[Callable[[Any], bool], str]:
    return lambda value: value in names, " or ".join(map(str, names))


def _is_constant(value: Any) -> bool:
    numbers = value if isinstance(value, (list, tuple)) and value else [value]
    return all(
        isinstance(n, (int, float)) and not isinstance(n, bool) and math.isfinite(n)
        for n in numbers
    )


_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "seed": (lambda value: 0 <= value < 2**32, "a whole number from 0 to 4294967295"),
    "country": (bool, "a country's code, such as SA"),
    "model.path": (bool, f"a folder, a hub id, or {EMBEDDED}"),
    "model.dtype": _one_of("float32", "bfloat16"),
    "survey.constant": (_is_constant, "a number, or a tuple with one for each dimension"),
    "prompt.length": _at_least(1),
    "prompt.init": _one_of("texts", "vocabulary", "normal"),
    "prompt.position": _one_of("first"),
    "search.space": _one_of("full"),
    "search.population": _at_least(1),
    "search.generations": _at_least(1),
    "search.bounds": _one_of("none", "vocabulary"),
    "objective.readout": _one_of("expected", "sampled", "greedy"),
    "objective.respondents": _at_least(1),
    "objective.norm": _one_of("l1", "l2"),
    "evaluation.chunk": _at_least(0),
    "mesh.population": _one_of(1),
    "mesh.model": _one_of(1),
    "checkpoint.every": _at_least(1),
    "checkpoint.keep": _at_least(0),
}


def to_plain(config: config_dict.ConfigDict) -> dict[str, Any]:
    """The config as nested dictionaries of plain values, as JSON would hold it."""
    return json.loads(config.to_json())


def flatten(plain: dict[str, Any]) -> dict[str, Any]:
    """Dotted key to value, of a plain config; `search.strategy_params` stays one value."""
    flat: dict[str, Any] = {}
    for room, value in plain.items():
        if isinstance(value, dict):
            flat |= {f"{room}.{key}": leaf for key, leaf in value.items()}
        else:
            flat[room] = value
    return flat


def validate(config: config_dict.ConfigDict) -> None:
    """Checks every key on its own, before anything is loaded.

    Raises:
      UserError: one line with every key that is wrong, and what would be right.
    """
    defaults, given = flatten(to_plain(base())), flatten(to_plain(config))
    faults = [f"{key}: unknown key" for key in given if key not in defaults]
    for key, default in defaults.items():
        if key not in given:
            faults.append(f"{key}: missing, the base config has it")
        elif key != "survey.constant" and type(given[key]) is not type(default):
            expected = type(default).__name__
            faults.append(f"{key}={given[key]!r}: must be of type {expected}")
        elif key in _RULES and not _RULES[key][0](given[key]):
            faults.append(f"{key}={given[key]!r}: must be {_RULES[key][1]}")
    if faults:
        raise UserError("config: " + "; ".join(faults))
