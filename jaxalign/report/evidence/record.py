"""The records that evaluation.json consists of."""

from typing import Annotated, Literal

import msgspec

VERSION = 2
LEVELS = ("easy", "hard")  # of CulturalBench

Interval = tuple[float, float]
Scores = dict[str, float | None]  # by dimension


class Record(msgspec.Struct):
    """A part of the document; a field that may be None may also be missing from the file."""


class Survey(Record, kw_only=True):
    """The survey that the prompt was tuned on."""

    name: str
    title: str
    validated: bool
    items: int
    constant: list[float] | None = None
    norm: str
    targets: str | None = None
    target_source: str | None = None


class Formats(Record):
    """The presentations that were tuned on, those of the test, and those that cannot be asked."""

    seen: list[str]
    held_out: list[str]
    skipped: list[dict[str, str]] = []  # name and reason


class Difference(Record):
    """Loss of the tuned prompt minus loss of a method, with its 95% interval."""

    mean: float | None = None
    interval: Interval | None = None


class Method(Record):
    """One method: its loss, the 95% interval, and the range over its variants."""

    name: str
    group: str  # tuned, reference, text or control
    scores: Scores | None = None
    loss: float | None = None
    spread: Interval | None = None
    note: str | None = None
    interval: Interval | None = None
    difference: Difference | None = None


class Persona(Record, kw_only=True):
    """One wording of the persona."""

    text: str
    loss: float | None = None
    held_out: bool


class Measured(Record):
    """Loss and scores of one method in one format."""

    loss: float | None = None
    scores: Scores | None = None


class FormatRow(Record, kw_only=True):
    """One presentation, with the result of each method."""

    name: str
    part: Literal["tune", "choose", "test", "alone"]  # alone: one level of the test, else as usual
    levels: dict[str, str] = {}  # of each factor
    methods: dict[str, Measured | None]


class Spread(Record):
    """Mean and standard deviation of a score over all formats."""

    mean: float | None = None
    spread: float | None = None


class DimensionSpread(Record):
    """How far a score varies between countries, and over formats for each method."""

    dimension: str
    between_countries: float | None = None
    naive: Spread | None = None
    tuned: Spread | None = None
    persona: Spread | None = None


class FormatSummary(Record):
    """Mean losses of a method where it was tuned and in the test, and its worst presentation."""

    seen: float | None = None
    held_out: float | None = None
    interval: Interval | None = None  # of the test's mean, over levels
    difference: Difference | None = None  # in the test, over levels
    worst: float | None = None
    worst_name: str | None = None
    explained: dict[str, float | None] = {}  # share of the variance, by factor


class Robustness(Record):
    """Results over formats."""

    rows: list[FormatRow]
    dimensions: list[DimensionSpread]
    summary: dict[str, FormatSummary]
    persona: str | None = None


class Answer(Record):
    """How one method answers an item: shares of the options (0 to 1) and the written answer."""

    shares: list[float | None]
    mean: float | None = None
    entropy: float | None = None
    off_scale: float | None = None
    written: str | None = None
    kind: str | None = None  # option, refusal or unparsed
    agrees: bool | None = None


class AnsweredItem(Record):
    """An item with the answers of both methods."""

    id: str
    text: str
    options: list[str]
    values: list[float]
    naive: Answer | None = None
    tuned: Answer | None = None

    def __post_init__(self):
        answers = [answer for answer in (self.naive, self.tuned) if answer]
        if {len(self.options)} != {len(self.values), *(len(each.shares) for each in answers)}:
            raise ValueError("there must be one share and one value for each option")


class Answers(Record):
    """The answers to all items."""

    items: list[AnsweredItem]
    methods: dict[str, dict[str, int | float | None]]  # summaries over all items


class Request(Record):
    """A request that is no survey: the answer's first token, and each method's `divergence`."""

    kind: str
    text: str
    first: str
    methods: dict[str, dict[str, float | str | None]]  # divergence in nats, and first token


class SideEffects(Record):
    """What a method changes beside the survey: means over all requests."""

    requests: list[Request]
    methods: dict[str, dict[str, float | None]]


class SampledScore(Record):
    """One score over samples of n respondents, with its standard deviation by formula."""

    mean: float | None = None
    low: float | None = None
    high: float | None = None
    sampling_sd: float | None = None
    formula_sd: float | None = None


class SampleSize(Record, kw_only=True):
    """Losses and scores of one method over samples of n simulated respondents."""

    method: str
    n: int
    loss: float | None = None
    low: float | None = None
    high: float | None = None
    loss_sd: float | None = None
    dimensions: dict[str, SampledScore]


class CountryDifference(Record):
    """A score minus that of the reference country, published and tuned."""

    country: str
    dimension: str
    target: float | None = None
    tuned: float | None = None


class Tau(Record, kw_only=True):
    """Kendall's tau between the published and the tuned order of n countries."""

    dimension: str
    tau: float | None = None
    p: float | None = None
    n: int


class Countries(Record, kw_only=True):
    """Prompts of several countries, each scored against every country."""

    reference: str | None = None
    codes: list[str]
    names: dict[str, str]
    differences: list[CountryDifference] | None = None
    tau: list[Tau] | None = None
    matrix: list[list[float | None]] | None = None  # tuned for the row's, scored for the column's
    naive: list[float | None] | None = None

    def __post_init__(self):
        count = len(self.codes)
        if self.matrix and [len(row) for row in self.matrix] != [count] * count:
            raise ValueError(f"matrix must have {count} rows of {count} losses")
        if self.naive and len(self.naive) != count:
            raise ValueError(f"naive must have {count} losses")

    def name(self, code: str | None) -> str:
        """Return a country's name, or its code if the name is unknown."""
        return self.names.get(code or "", code or "")


class McNemar(Record):
    """McNemar's test: questions that only the one (b) or the other method (c) has right."""

    b: int | None = None
    c: int | None = None
    p: float | None = None
    p_holm: float | None = None


class CulturalBenchRow(Record):
    """One method on the questions about one country, or on all of them."""

    scope: str
    method: str
    n: int
    skipped: int
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None
    wilson_low: float | None = None
    wilson_high: float | None = None
    chance: float | None = None
    mcnemar: McNemar | None = None


class CulturalBench(Record, kw_only=True):
    """The results on CulturalBench; `fixture` marks the toy questions of this package."""

    source: str
    fixture: bool
    easy: dict[str, list[CulturalBenchRow]] | None = None  # one key, rows
    hard: dict[str, list[CulturalBenchRow]] | None = None

    def levels(self) -> dict[str, list[CulturalBenchRow]]:
        """Return the rows of each level that has any."""
        levels = {level: getattr(self, level) for level in LEVELS}
        return {level: of["rows"] for level, of in levels.items() if of and of["rows"]}


class Trie(Record):
    """The token trie of all formats, and how many times fewer tokens it has than a padded batch."""

    formats: int
    tokens: int
    padded: int
    saving: float


class Evaluation(Record, kw_only=True):
    """The content of evaluation.json."""

    schema: int = VERSION
    prompt_sha256: str | None = None
    country: str
    country_name: str | None = None
    model: str
    notice: str | None = None
    command: str | None = None
    date: str | None = None
    hardware: str | None = None
    versions: dict[str, str] | None = None
    git_revision: str | None = None
    survey: Survey
    dimensions: dict[str, str]
    target: Annotated[dict[str, float], msgspec.Meta(min_length=1)]  # by dimension
    verdict: list[str]
    formats: Formats
    methods: list[Method]
    personas: list[Persona] | None = None
    robustness: Robustness | None = None
    answers: Answers | None = None
    side_effects: SideEffects | None = None
    respondents: list[SampleSize] | None = None
    countries: Countries | None = None
    culturalbench: CulturalBench | None = None
    trie: Trie | None = None
    seconds: dict[str, float | None] | None = None

    @property
    def country_title(self) -> str:
        """The country by name, or by code if it has no name."""
        return self.country_name or self.country
