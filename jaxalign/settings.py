"""Every config key: its meaning, type, default and rule, in frozen dataclasses."""

# ruff: noqa: RUF009

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

EMBEDDED = "embedded"
ALL = "all"  # for `country`
INITIAL = ("texts", "diverse", "mixtures", "vocabulary", "normal")  # kinds of first population
LLAMA = "meta-llama/Meta-Llama-3-8B-Instruct"


class Rule(NamedTuple):
    """A condition on a key's value, and how an error message completes "must be …"."""

    holds: Callable[[Any], bool]
    wanted: str


def country_names(value: Any) -> list[str]:
    """Return the countries that `country` asks for, in order and each once."""
    if isinstance(value, str):
        value = value.strip().strip("[]()").split(",")
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
        return []
    names = (name.strip().strip("'\"") for name in value)
    return list({name.casefold(): name for name in names if name}.values())


def format_names(value: str) -> list[str]:
    """Return the formats that `objective.formats` asks for, in order and each once."""
    names = (name.strip().strip("'\"") for name in value.strip("[]() ").split(","))
    return list(dict.fromkeys(name for name in names if name))


def _at_least(bound: int) -> Rule:
    return Rule(lambda value: value >= bound, f"a whole number of at least {bound}")


def _one_of(*names: str) -> Rule:
    return Rule(lambda value: value in names, " or ".join(names))


def _is_constant(value: Any) -> bool:
    if value == "":
        return True
    numbers = value if isinstance(value, tuple) and value else (value,)
    return all(type(number) in (int, float) and math.isfinite(number) for number in numbers)


def _is_initial(value: str) -> bool:
    return value in INITIAL or "/" in value or value.endswith((".safetensors", ".npy"))


_NOT_NEGATIVE = Rule(lambda value: 0 <= value < math.inf, "a number of at least 0")


def _key(default: Any, meaning: str, rule: Rule | None = None, *, embedded: Any = None) -> Any:
    """Declare a config key; `embedded` is its default in the variant of that name."""
    about = {
        "meaning": meaning,
        "rule": rule,
        "embedded": default if embedded is None else embedded,
    }
    if isinstance(default, dict):
        return dataclasses.field(default_factory=dict, metadata=about)
    return dataclasses.field(default=default, metadata=about)


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """The language model."""

    path: str = _key(
        LLAMA,
        "A folder, one in a bucket (gs://), a hub id, or `embedded`.",
        Rule(bool, f"a folder, one in a bucket (gs://), a hub id, or {EMBEDDED}"),
        embedded=EMBEDDED,
    )
    revision: str = _key("", "Revision of a hub id; empty for its main branch.")
    dtype: str = _key(
        "bfloat16",
        "Type of weights and activations.",
        _one_of("float32", "bfloat16"),
        embedded="float32",
    )
    quantization: str = _key(
        "none",
        "Quantise the matrices of the blocks: int8 and fp8 also quantise what they multiply, "
        "int8_weights and fp8_weights do not. The best prompt is scored again without.",
        _one_of("none", "int8", "fp8", "int8_weights", "fp8_weights"),
    )


@dataclasses.dataclass(frozen=True)
class SurveySettings:
    """The survey and the scores to reach."""

    instrument: str = _key(
        "vsm13", "vsm13, example_values, example_opinions, or the path of a YAML file."
    )
    coefficients: str = _key("", "A set of coefficients of the instrument; empty for its first.")
    targets: str = _key(
        "hofstede2010", "`newer`, targets named like an example survey, or the path of a CSV file."
    )
    constant: str | float | tuple[float, ...] = _key(
        "",
        "Constant C of the scoring formulas: a number, or one for each dimension; empty for the "
        "instrument's own, 50 for vsm13.",
        Rule(
            _is_constant,
            "a number, a tuple with one for each dimension, or empty for the instrument's own",
        ),
    )
    shuffle: int = _key(
        0,
        "Above 0: shuffle the target's scores among the dimensions with this seed, as a control.",
        _at_least(0),
    )


@dataclasses.dataclass(frozen=True)
class PromptSettings:
    """The soft prompt and where its search starts."""

    length: int = _key(16, "L, in embedding rows.", _at_least(1), embedded=9)
    init: str = _key(
        "texts",
        "First population: texts (personas of other countries first), diverse (facts too), "
        "mixtures of texts, vocabulary, normal; or a path: the .safetensors or .npy file of a soft "
        "prompt, the folder of a PEFT prompt-tuning adapter, or a workdir, whose last population "
        "is used.",
        Rule(
            _is_initial,
            f"{', '.join(INITIAL)}, or a path: a .safetensors or .npy file, the folder of a PEFT "
            "adapter (./NAME), or a workdir",
        ),
    )
    texts: str = _key("", "A YAML file with texts of your own, added to the packaged ones.")
    position: str = _key(
        "first", "The soft prompt precedes everything else, as in PEFT.", _one_of("first")
    )


@dataclasses.dataclass(frozen=True)
class SearchSettings:
    """The evolutionary search."""

    strategy: str = _key("LSHADE", "Name of a strategy, or FILE.py:CLASS; README.md lists them.")
    strategy_params: dict[str, Any] = _key({}, "Its parameters, such as {'best_share': 0.2}.")
    space: str = _key(
        "full",
        "full: every coordinate of the prompt; subspace: a random projection of `dimension` "
        "coordinates; texts: mixtures of the embeddings of `dimension` texts.",
        _one_of("full", "subspace", "texts"),
    )
    dimension: int = _key(
        500,
        "Of the subspace, or the number of texts.",
        Rule(lambda value: 1 <= value <= 100_000, "a whole number from 1 to 100000"),
    )
    population: int = _key(64, "P, candidates of each country.", _at_least(1))
    generations: int = _key(200, "After the initial population.", _at_least(1), embedded=150)
    bounds: str = _key(
        "none",
        "vocabulary: keep each coordinate within its range in the embedding table.",
        _one_of("none", "vocabulary"),
    )
    max_norm: float = _key(
        0.0,
        "Largest norm of a prompt row, in mean norms of the embeddings; 0 for no limit.",
        _NOT_NEGATIVE,
    )
    migrants: int = _key(
        4,
        "Multi-country runs: candidates of other countries offered to each one per generation.",
        _at_least(0),
    )
    polish: int = _key(
        0, "Steps of gradient descent after the search, reported apart; 0 for none.", _at_least(0)
    )


@dataclasses.dataclass(frozen=True)
class TermSettings:
    """Weights of the loss terms; all terms are measured. `objective.py` documents their units."""

    survey: float = _key(1.0, "Distance of the scores to the target.", _NOT_NEGATIVE)
    naive_distance: float = _key(
        0.0, "Distance of the answers to those without a prompt.", _NOT_NEGATIVE
    )
    prompt_norm: float = _key(0.0, "Mean norm of the prompt rows.", _NOT_NEGATIVE)
    culturalbench_nll: float = _key(
        0.0, "Negative log-likelihood of CulturalBench's right options.", _NOT_NEGATIVE
    )
    culturalbench_error: float = _key(
        0.0, "Share of CulturalBench questions answered wrongly.", _NOT_NEGATIVE
    )


@dataclasses.dataclass(frozen=True)
class ObjectiveSettings:
    """How answers are read, compared and weighted."""

    readout: str = _key(
        "expected", "Reads answers from probabilities.", _one_of("expected", "sampled", "greedy")
    )
    respondents: int = _key(50, "Simulated respondents of a sampled readout.", _at_least(1))
    norm: str = _key("l1", "Distance of scores to targets.", _one_of("l1", "l2"))
    formats: str = _key(
        "identity,reversed",
        "How options are presented; the loss is the mean over formats. Each is ORDER or "
        "ORDER/LABELS: identity, reversed or cyclicN; own (the survey file's), numbers, letters or "
        "words.",
        Rule(
            lambda value: bool(format_names(value)),
            "formats with commas between, such as identity,reversed",
        ),
    )
    reevaluate: int = _key(
        5, "Generations between two evaluations of the parents, if sampled.", _at_least(0)
    )
    culturalbench: str = _key(
        "",
        "CulturalBench-Easy: a CSV or Parquet file, REPO@COMMIT on the hub, or `fixture`, toy "
        "questions of ours; empty for none.",
    )
    terms: TermSettings = TermSettings()


@dataclasses.dataclass(frozen=True)
class EvaluationSettings:
    """How the population is evaluated."""

    chunk: int = _key(
        0, "Candidates evaluated at a time; 0 chooses from the memory there is.", _at_least(0)
    )
    attention: str = _key(
        "auto",
        "xla: dense; blocks: of the token trie, the choice of auto; kernels: pallas and cudnn on "
        "GPUs, splash on TPUs.",
        _one_of("auto", "xla", "blocks", "cudnn", "pallas", "splash"),
    )


@dataclasses.dataclass(frozen=True)
class MeshSettings:
    """The devices: 0 chooses from what there is and the size of the weights."""

    population: int = _key(0, "Devices that share the candidates.", _at_least(0))
    model: int = _key(0, "Devices that the weights are split over.", _at_least(0))


@dataclasses.dataclass(frozen=True)
class CheckpointSettings:
    """What is saved of a run."""

    every: int = _key(1, "Generations between checkpoints.", _at_least(1))
    keep: int = _key(
        100, "Keep every k-th besides the latest two and the best; 0 for none.", _at_least(0)
    )


@dataclasses.dataclass(frozen=True)
class Settings:
    """A validated config: the same keys at the same attribute paths, frozen."""

    seed: int = _key(
        0,
        "Decides everything that is drawn at random.",
        Rule(lambda value: 0 <= value < 2**32, "a whole number from 0 to 4294967295"),
    )
    country: str | tuple[str, ...] = _key(
        "",
        "Code or name that survey.targets holds; several, such as `sa,cn`, share every evaluation; "
        "`all` for every country of the targets.",
        Rule(
            lambda value: bool(country_names(value)),
            "a country's code, such as SA, several with commas between, or `all`",
        ),
    )
    workdir: str = _key("", "Folder of the run; empty for runs/COUNTRY-MODEL.")
    model: ModelSettings = ModelSettings()
    survey: SurveySettings = SurveySettings()
    prompt: PromptSettings = PromptSettings()
    search: SearchSettings = SearchSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    mesh: MeshSettings = MeshSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
