"""Every config key: its type, default, rule and meaning, in frozen dataclasses."""

import dataclasses
import math
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

EMBEDDED = "embedded"
ALL = "all"  # for `country`
INITIAL = ("texts", "diverse", "mixtures", "vocabulary", "normal")  # kinds of first population
LLAMA = "meta-llama/Meta-Llama-3-8B-Instruct"
SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"


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
    """Return the presentations that `objective.formats` asks for, in order and each once."""
    names = (name.strip().strip("'\"") for name in value.strip("[]() ").split(","))
    return list(dict.fromkeys(name for name in names if name))


def language_names(value: str) -> list[str]:
    """Return the languages that `objective.languages` asks for."""
    return [name.strip() for name in value.split(",") if name.strip()]


def _at_least(low: int) -> Rule:
    return Rule(lambda value: value >= low, f"a whole number of at least {low}")


def _between(low: int, high: int) -> Rule:
    return Rule(lambda value: low <= value <= high, f"a whole number from {low} to {high}")


def _are_finite(value: Any) -> bool:
    numbers = value if isinstance(value, tuple) else (value,)
    return len(numbers) > 0 and all(type(n) in (int, float) and math.isfinite(n) for n in numbers)


_NOT_NEGATIVE = Rule(lambda value: 0 <= value < math.inf, "a number of at least 0")
_SHARE = Rule(lambda value: 0 < value <= 1, "a number above 0 and at most 1")
_MODEL = Rule(bool, f"a folder, one in a bucket (gs://), a .gguf file, a hub id, or {EMBEDDED}")
_COUNTRY = Rule(
    lambda value: bool(country_names(value)),
    f"a country's code, such as SA, several with commas between, or `{ALL}`",
)
_CONSTANT = Rule(
    lambda value: value == "" or _are_finite(value),
    "a number, a tuple with one for each dimension, or empty for the instrument's own",
)
_INIT = Rule(
    lambda value: value in INITIAL or "/" in value or value.endswith((".safetensors", ".npy")),
    f"{', '.join(INITIAL)}, or a path: a .safetensors or .npy file, the folder of a PEFT adapter "
    "(./NAME), or a workdir",
)
_FORMATS = Rule(
    lambda value: bool(format_names(value)),
    "formats with commas between, such as identity,reversed, or pool:8",
)


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """The language model."""

    # a folder, one in a bucket (gs://), a GGUF file, a hub id, or `embedded`
    path: Annotated[str, _MODEL] = LLAMA
    revision: str = ""  # of a hub id; empty for its main branch
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    # A file of Jinja, llama3, chatml or plain; empty for the tokenizer's own, or that of the family
    # whose markers are in its vocabulary.
    chat_template: str = ""
    # Of the blocks' matrices. int8 and fp8 also quantise what they multiply. The best prompt is
    # scored again by the model without quantization.
    quantization: Literal["none", "int8", "fp8", "int8_weights", "fp8_weights"] = "none"


@dataclasses.dataclass(frozen=True)
class SurveySettings:
    """The survey and the scores to reach."""

    # vsm13, example_values, example_opinions, or the path of a YAML file
    instrument: str = "vsm13"
    coefficients: str = ""  # a set of the instrument; empty for its first
    # `newer`, those named like an example, or the path of a CSV file
    targets: str = "hofstede2010"
    # C of the formulas: a number, or one for each dimension; empty for the instrument's own
    constant: Annotated[str | float | tuple[float, ...], _CONSTANT] = ""
    # Above 0: the target's scores shuffled among its dimensions with this seed. A control, since
    # the result is no country's.
    shuffle: Annotated[int, _at_least(0)] = 0


@dataclasses.dataclass(frozen=True)
class PromptSettings:
    """The soft prompt and where its search starts."""

    length: Annotated[int, _at_least(1)] = 16  # L, in embedding rows
    # Where the search starts: texts (personas of other countries first), diverse (facts too, in
    # turn), mixtures of texts, vocabulary, normal; or a path: a soft prompt's .safetensors or .npy
    # file, the folder of a PEFT prompt-tuning adapter, or a workdir, whose last population is used.
    init: Annotated[str, _INIT] = "texts"
    texts: str = ""  # a YAML file with texts of your own, added to the packaged ones
    position: Literal["first"] = "first"  # before everything else, as in PEFT


@dataclasses.dataclass(frozen=True)
class SearchSettings:
    """The evolutionary search."""

    strategy: str = "GaussNewton"  # a name of docs/strategies.md, or FILE.py:CLASS
    strategy_params: dict[str, Any] = dataclasses.field(default_factory=dict)
    # full: every coordinate of the prompt; subspace: a random projection of `dimension` of them;
    # texts: mixtures of the embeddings of `dimension` texts; first_layer: of each row, the
    # `dimension` directions that the model's first layer responds to most.
    space: Literal["full", "subspace", "texts", "first_layer"] = "first_layer"
    dimension: Annotated[int, _between(1, 100_000)] = 64
    population: Annotated[int, _at_least(1)] = 64  # P, for each country
    generations: Annotated[int, _at_least(1)] = 100
    # The search ends when every country's best loss is at most this share of the naive loss (never
    # with a sampled readout, whose best is luck), or after so many generations in which none
    # changes; 0 for never.
    stop_loss: Annotated[float, _NOT_NEGATIVE] = 0.005
    patience: Annotated[int, _at_least(0)] = 0
    # vocabulary: each coordinate within its range in the embedding table
    bounds: Literal["none", "vocabulary"] = "none"
    # Largest norm of a prompt row, in mean norms of the embeddings; 0 for no limit.
    max_norm: Annotated[float, _NOT_NEGATIVE] = 0.0
    # Candidates of other countries that may enter a country's population in a generation.
    migrants: Annotated[int, _at_least(0)] = 4
    # Steps of gradient descent after the search, reported apart; 0 for none.
    polish: Annotated[int, _at_least(0)] = 0


@dataclasses.dataclass(frozen=True)
class TermSettings:
    """Weights of the loss terms; all are measured, in units that `Evaluation` documents."""

    survey: Annotated[float, _NOT_NEGATIVE] = 1.0
    naive_distance: Annotated[float, _NOT_NEGATIVE] = 0.0
    prompt_norm: Annotated[float, _NOT_NEGATIVE] = 0.0
    culturalbench_nll: Annotated[float, _NOT_NEGATIVE] = 0.0
    culturalbench_error: Annotated[float, _NOT_NEGATIVE] = 0.0


@dataclasses.dataclass(frozen=True)
class ObjectiveSettings:
    """How answers are read, compared and weighted."""

    readout: Literal["expected", "sampled", "greedy"] = "expected"
    respondents: Annotated[int, _at_least(1)] = 50  # of a sampled readout
    norm: Literal["l1", "l2"] = "l1"
    # Share of the presentations, the worst ones, of which the loss is the mean: a CVaR below 1.
    tail: Annotated[float, _SHARE] = 1.0
    # How the survey is put; the loss is the mean. Each is ORDER/LABELS@WORDING+MESSAGE, all but the
    # order optional: identity, reversed or cyclicN; own (the survey file's), numbers, letters or
    # words; another wording of the survey; a neutral system message or an earlier exchange. Or
    # pool:N: N drawn ones, with others to choose among prompts by; see docs/tune.md.
    formats: Annotated[str, _FORMATS] = "identity,reversed"
    # Presentations of a pool that are asked at a time, each in turn; 0 for all. Every `reevaluate`
    # generations others are, and parents are evaluated again.
    at_a_time: Annotated[int, _at_least(0)] = 0
    # Of the wordings that a pool or a test draws from, beside the survey's own: es,zh or all.
    languages: str = ""
    # Generations between evaluations of the parents, if sampled or asked some at a time.
    reevaluate: Annotated[int, _at_least(0)] = 5
    # CulturalBench-Easy: a CSV or Parquet file, REPO@COMMIT on the hub, or `fixture`, toy questions
    culturalbench: str = ""
    terms: TermSettings = TermSettings()


@dataclasses.dataclass(frozen=True)
class EvaluationSettings:
    """How the population is evaluated."""

    chunk: Annotated[int, _at_least(0)] = 0  # candidates at a time; 0 chooses by memory
    # xla: dense; blocks: of the token trie, the choice of auto; kernels: pallas and cudnn on a GPU,
    # splash on a TPU.
    attention: Literal["auto", "xla", "blocks", "cudnn", "pallas", "splash"] = "auto"


@dataclasses.dataclass(frozen=True)
class MeshSettings:
    """Devices that share the candidates and that split the weights; 0 chooses."""

    population: Annotated[int, _at_least(0)] = 0
    model: Annotated[int, _at_least(0)] = 0


@dataclasses.dataclass(frozen=True)
class CheckpointSettings:
    """What is saved of a run."""

    every: Annotated[int, _at_least(1)] = 1  # generations between checkpoints
    keep: Annotated[int, _at_least(0)] = 100  # every k-th, the latest two and the best; 0: no k-th


@dataclasses.dataclass(frozen=True)
class Settings:
    """A validated config: the same keys at the same attribute paths, frozen."""

    seed: Annotated[int, _between(0, 2**32 - 1)] = 0
    # A code or name that survey.targets holds; several, such as "sa,cn" or a tuple, share every
    # evaluation, and `all` is every country of the targets.
    country: Annotated[str | tuple[str, ...], _COUNTRY] = ""
    workdir: str = ""  # empty: runs/COUNTRY-MODEL in the current folder
    model: ModelSettings = ModelSettings()
    survey: SurveySettings = SurveySettings()
    prompt: PromptSettings = PromptSettings()
    search: SearchSettings = SearchSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    mesh: MeshSettings = MeshSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()


# What the variant `embedded` changes, so that a run takes a minute on a laptop.
EMBEDDED_KEYS = {
    "model.path": EMBEDDED,
    "model.dtype": "float32",
    "prompt.length": 9,
    "search.space": "full",
    "search.population": 16,
    "search.generations": 80,
}

# What the variant `smollm2` changes: a real model, the smallest that answers, at sizes that suit
# two CPU cores. `launch/real.sh` fetches the file; without it the hub has the same model.
SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SMOLLM2_KEYS = {
    "model.path": SMOLLM2,
    "model.dtype": "float32",
    "search.population": 16,
    "search.generations": 40,
}
