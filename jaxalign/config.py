"""The base config: every key, its default, and what it may be."""

import json
import math
from collections.abc import Callable
from typing import Any

from ml_collections import config_dict

from jaxalign.errors import UserError

EMBEDDED = "embedded"
ALL = "all"  # for `country`
INITIAL = ("texts", "diverse", "mixtures", "vocabulary", "normal")  # kinds of first population
_TERMS = {
    "survey": 1.0,
    "naive_distance": 0.0,
    "prompt_norm": 0.0,
    "benchmark_nll": 0.0,
    "benchmark_error": 0.0,
}
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
    # A code or name that survey.targets holds; several, such as "sa,cn" or a tuple, share every
    # evaluation, and `all` is every country of the targets.
    config.country = config_dict.placeholder(object)
    config.country = ""
    config.workdir = ""  # empty: runs/COUNTRY-MODEL in the current folder

    config.model = config_dict.ConfigDict()
    config.model.path = EMBEDDED if small else LLAMA  # a folder, gs://, a hub id, or `embedded`
    config.model.revision = ""  # of a hub id; empty for its main branch
    config.model.dtype = "float32" if small else "bfloat16"
    # Of the blocks' matrices: none, int8, fp8 (both also of what they multiply), int8_weights,
    # fp8_weights. The best prompt is scored again by the model as it is.
    config.model.quantization = "none"

    config.survey = config_dict.ConfigDict()
    # vsm13, example_values, example_opinions, or the path of a YAML file
    config.survey.instrument = "vsm13"
    config.survey.coefficients = ""  # a set of the instrument; empty for its first
    # `newer`, those named like an example, or the path of a CSV file
    config.survey.targets = "hofstede2010"
    # C: a number, or one per dimension; empty for the instrument's own, 50 for vsm13
    config.survey.constant = config_dict.placeholder(object)
    config.survey.constant = ""
    # Above 0: the target's scores dealt out anew among its dimensions, by this seed. A control,
    # since what results is no country's.
    config.survey.shuffle = 0

    config.prompt = config_dict.ConfigDict()
    config.prompt.length = 9 if small else 16  # L, in embedding rows
    # Where the search starts: texts (personas of other countries first), diverse (also facts, in
    # turn), mixtures of texts, vocabulary, normal; or a path: a soft prompt's .safetensors or .npy
    # file, the folder of a PEFT prompt-tuning adapter, or another run's workdir, whose population
    # is taken over.
    config.prompt.init = "texts"
    config.prompt.texts = ""  # a YAML file with texts of your own, beside the packaged ones
    config.prompt.position = "first"  # before everything else, as PEFT has it

    config.search = config_dict.ConfigDict()
    config.search.strategy = "LSHADE"  # README.md lists them
    config.search.strategy_params = config_dict.ConfigDict()  # e.g. {"best_share": 0.2}
    # full: every coordinate of the prompt; subspace: a random projection of `dimension` of them;
    # texts: mixtures of the embeddings of `dimension` texts.
    config.search.space = "full"
    config.search.dimension = 500  # of the subspace; or how many texts
    config.search.population = 64  # P, for each country
    config.search.generations = 150 if small else 200
    config.search.bounds = "none"  # or `vocabulary`: each coordinate within the embedding table's
    config.search.max_norm = 0.0  # of a prompt row, in mean norms of the embeddings; 0: none
    config.search.migrants = 4  # with several countries: candidates of others that may enter
    config.search.polish = 0  # steps of gradient descent at the end, told apart; 0 for none

    config.objective = config_dict.ConfigDict()
    config.objective.readout = "expected"  # expected, sampled, greedy
    config.objective.respondents = 50  # of a sampled readout
    config.objective.norm = "l1"  # l1, l2
    # How options are presented; the loss is the mean over them. Each is ORDER or ORDER/LABELS:
    # identity, reversed, or cyclicN; own (the survey file's), numbers, letters, or words.
    config.objective.formats = "identity,reversed"
    config.objective.reevaluate = 5  # generations between evaluating parents anew, if sampled
    # CulturalBench-Easy: a CSV, Parquet, REPO@COMMIT on the hub, or `fixture`: our toy questions
    config.objective.benchmark = ""
    # Weights of what the loss adds up; all are measured. `objective.py` tells their units.
    config.objective.terms = config_dict.ConfigDict(_TERMS)

    config.evaluation = config_dict.ConfigDict()
    config.evaluation.chunk = 0  # candidates at a time; 0 chooses from the memory there is
    # xla: dense; blocks: of the token trie, what auto picks; kernels: pallas and cudnn on a GPU,
    # splash on a TPU.
    config.evaluation.attention = "auto"

    config.mesh = config_dict.ConfigDict()
    # Devices over which the candidates of a generation are shared out, and over which the weights
    # are split; 0 chooses from the devices there are and what the weights take.
    config.mesh.population = 0
    config.mesh.model = 0

    config.checkpoint = config_dict.ConfigDict()
    config.checkpoint.every = 1  # generations between checkpoints
    config.checkpoint.keep = 100  # besides the latest two and the best, every k-th; 0 for none
    return config


def country_names(value: Any) -> list[str]:
    """The countries that `country` asks for, in order and each once; `["all"]` for all of them."""
    if isinstance(value, str):
        value = value.strip().strip("[]()").split(",")
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
        return []
    names = (name.strip().strip("'\"") for name in value)
    return list({name.casefold(): name for name in names if name}.values())


def format_names(value: str) -> list[str]:
    """The formats that `objective.formats` asks for, in order and each once."""
    names = (name.strip().strip("'\"") for name in value.strip("[]() ").split(","))
    return list(dict.fromkeys(name for name in names if name))


def _at_least(bound: int) -> tuple[Callable[[Any], bool], str]:
    return lambda value: value >= bound, f"a whole number of at least {bound}"


def _one_of(*names: str | int) -> tuple[Callable[[Any], bool], str]:
    return lambda value: value in names, " or ".join(map(str, names))


def _is_constant(value: Any) -> bool:
    if value == "":
        return True
    numbers = value if isinstance(value, (list, tuple)) and value else [value]
    return all(
        isinstance(n, (int, float)) and not isinstance(n, bool) and math.isfinite(n)
        for n in numbers
    )


def _are_weights(terms: dict[str, float]) -> bool:
    weights = terms.values()
    return (
        terms.keys() == _TERMS.keys()
        and all(0 <= weight < math.inf for weight in weights)
        and any(weights)
    )


_ANY_TYPE = ("country", "survey.constant")
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "seed": (lambda value: 0 <= value < 2**32, "a whole number from 0 to 4294967295"),
    "country": (
        lambda value: bool(country_names(value)),
        "a country's code, such as SA, several with commas between, or `all`",
    ),
    "model.path": (bool, f"a folder, one in a bucket (gs://), a hub id, or {EMBEDDED}"),
    "model.dtype": _one_of("float32", "bfloat16"),
    "model.quantization": _one_of("none", "int8", "fp8", "int8_weights", "fp8_weights"),
    "survey.constant": (
        _is_constant,
        "a number, a tuple with one for each dimension, or empty for the instrument's own",
    ),
    "survey.shuffle": _at_least(0),
    "prompt.length": _at_least(1),
    "prompt.init": (
        lambda value: value in INITIAL or "/" in value or value.endswith((".safetensors", ".npy")),
        f"{', '.join(INITIAL)}, or a path: a .safetensors or .npy file, the folder of a PEFT "
        "adapter (./NAME), or a workdir",
    ),
    "prompt.position": _one_of("first"),
    "search.space": _one_of("full", "subspace", "texts"),
    "search.dimension": (lambda value: 1 <= value <= 100_000, "a whole number from 1 to 100000"),
    "search.population": _at_least(1),
    "search.generations": _at_least(1),
    "search.bounds": _one_of("none", "vocabulary"),
    "search.max_norm": (lambda value: 0 <= value < math.inf, "a number of at least 0"),
    "search.migrants": _at_least(0),
    "search.polish": _at_least(0),
    "objective.readout": _one_of("expected", "sampled", "greedy"),
    "objective.respondents": _at_least(1),
    "objective.norm": _one_of("l1", "l2"),
    "objective.formats": (
        lambda value: bool(format_names(value)),
        "formats with commas between, such as identity,reversed",
    ),
    "objective.reevaluate": _at_least(0),
    "objective.terms": (
        _are_weights,
        f"numbers of at least 0, of which one is above, for {', '.join(_TERMS)}",
    ),
    "evaluation.chunk": _at_least(0),
    "evaluation.attention": _one_of("auto", "xla", "blocks", "cudnn", "pallas", "splash"),
    "mesh.population": _at_least(0),
    "mesh.model": _at_least(0),
    "checkpoint.every": _at_least(1),
    "checkpoint.keep": _at_least(0),
}


def to_plain(config: config_dict.ConfigDict) -> dict[str, Any]:
    """The config as nested dictionaries of plain values, as JSON would hold it."""
    return json.loads(config.to_json())


def from_plain(plain: dict[str, Any]) -> config_dict.ConfigDict:
    """The config that `to_plain` made plain values of.

    Raises:
      UserError: as `validate` does, or it is no nested dictionary.
    """
    config = base()
    for key, value in flatten(plain).items():
        try:
            config.update_from_flattened_dict({key: value})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"config: {key}={value!r}: {error}") from error
    validate(config)
    return config


def flatten(plain: dict[str, Any]) -> dict[str, Any]:
    """Dotted key to value, of a plain config; what lies deeper stays one value."""
    flat: dict[str, Any] = {}
    for room, value in plain.items():
        if isinstance(value, dict):
            flat |= {f"{room}.{key}": leaf for key, leaf in value.items()}
        else:
            flat[room] = value
    return flat


def validate(config: config_dict.ConfigDict) -> None:
    """Checks the keys, before anything is loaded.

    Raises:
      UserError: one line with every key that is wrong, and what would be right.
    """
    defaults, given = flatten(to_plain(base())), flatten(to_plain(config))
    faults = [f"{key}: unknown key" for key in given if key not in defaults]
    for key, default in defaults.items():
        if key not in given:
            faults.append(f"{key}: missing, the base config has it")
        elif key not in _ANY_TYPE and type(given[key]) is not type(default):
            expected = type(default).__name__
            faults.append(f"{key}={given[key]!r}: must be of type {expected}")
        elif key in _RULES and not _RULES[key][0](given[key]):
            faults.append(f"{key}={given[key]!r}: must be {_RULES[key][1]}")
    if not faults and config.search.space == "texts" and config.prompt.init not in INITIAL[:2]:
        faults.append(
            f"prompt.init={config.prompt.init!r}: must be {' or '.join(INITIAL[:2])} where "
            "search.space=texts, whose coordinates are those texts and which starts at them"
        )
    if faults:
        raise UserError("config: " + "; ".join(faults))
