"""CulturalBench-Easy (arXiv 2410.02677): cultural facts as multiple choice, read from a CSV."""

import csv
import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from jaxalign.errors import UserError

FIXTURE = "fixture"
BENCHMARK_LABELS = ("A", "B", "C", "D")
_FIXTURE_NOTICE = (
    "fixture: 20 questions of our own in CulturalBench's format; scores on them say nothing about "
    "CulturalBench"
)
_OPTIONS = tuple(f"prompt_option_{label.lower()}" for label in BENCHMARK_LABELS)
_COLUMNS = ("question_idx", "prompt_question", *_OPTIONS, "answer", "country")
# Other names of countries, all in lower case, to the name that CulturalBench uses.
_ALIASES = {
    "us": "united states",
    "usa": "united states",
    "united states of america": "united states",
    "uk": "united kingdom",
    "great britain": "united kingdom",
    "korea": "south korea",
    "republic of korea": "south korea",
    "czechia": "czech republic",
    "türkiye": "turkey",
    "viet nam": "vietnam",
}


@dataclass(frozen=True)
class BenchmarkQuestion:
    """One question of fact about a country.

    Attributes:
      id: the benchmark's own; country: name, as the file spells it.
      text: the question.
      options: 2 to 4 answers, in the file's order, without the empty ones.
      right: index of the right one among `options`.
    """

    id: str
    country: str
    text: str
    options: tuple[str, ...]
    right: int


@dataclass(frozen=True)
class Benchmark:
    """A file of questions.

    Attributes:
      questions: in the order of the file.
      skipped_options: number of empty options that were left out.
      source: the file, or `fixture`.
      fixture: whether these are our own few questions and not the benchmark.
    """

    questions: tuple[BenchmarkQuestion, ...]
    skipped_options: int
    source: str
    fixture: bool

    @property
    def notice(self) -> str | None:
        """What every output that uses these questions must say, or None."""
        return _FIXTURE_NOTICE if self.fixture else None


def load_benchmark(path: str) -> Benchmark:
    """Reads CulturalBench-Easy from a CSV, or our few questions in its format by `fixture`.

    Raises:
      UserError: the file cannot be read or breaks the format; file, row and fault are named.
    """
    fixture = path == FIXTURE
    if fixture:
        file = Path(str(resources.files("jaxalign.survey") / "data" / "culturalbench_fixture.csv"))
    else:
        file = Path(os.path.expanduser(path))  # unlike Path's, leaves an unknown ~user alone
    source = FIXTURE if fixture else str(file)
    questions, skipped = parse_easy(_read_csv(file), source)
    return Benchmark(questions, skipped, source, fixture)


def parse_easy(
    rows: Iterable[tuple[int, dict[str, str]]], source: str
) -> tuple[tuple[BenchmarkQuestion, ...], int]:
    """Questions of CulturalBench-Easy, and how many empty options were left out.

    Args:
      rows: number in the file, and column name to cell; from whatever kind of file.
      source: names the file in messages.

    Raises:
      UserError: no row, a column or cell is missing, the answer is not the letter of an option,
        there are fewer than two options, or two questions have the same number.
    """
    questions: dict[str, BenchmarkQuestion] = {}
    skipped = 0
    for number, row in rows:
        where = f"{source}: row {number}"
        missing = [column for column in _COLUMNS if column not in row]
        if missing:
            raise UserError(
                f"{source}: lacks the columns {', '.join(missing)} of CulturalBench-Easy"
            )
        # On one line: a line break within an option would look like a further option.
        cells = {column: " ".join(row[column].split()) for column in _COLUMNS}
        empty = [column for column in _COLUMNS if column not in _OPTIONS and not cells[column]]
        if empty:
            raise UserError(f"{where} has no {', '.join(empty)}")
        id_, answer = cells["question_idx"], cells["answer"]
        if id_ in questions:
            raise UserError(f"{where}: question_idx {id_!r} appears twice")
        if answer not in BENCHMARK_LABELS:
            raise UserError(
                f"{where}: answer {answer!r} is not one of {', '.join(BENCHMARK_LABELS)}"
            )
        offered = [column for column in _OPTIONS if cells[column]]
        if len(offered) < 2:
            raise UserError(f"{where} has {len(offered)} options; a choice needs at least two")
        right = _OPTIONS[BENCHMARK_LABELS.index(answer)]
        if right not in offered:
            raise UserError(f"{where}: answer {answer!r} names an empty option, {right}")
        skipped += len(_OPTIONS) - len(offered)
        questions[id_] = BenchmarkQuestion(
            id=id_,
            country=cells["country"],
            text=cells["prompt_question"],
            options=tuple(cells[column] for column in offered),
            right=offered.index(right),
        )
    if not questions:
        raise UserError(f"{source}: has no questions")
    return tuple(questions.values()), skipped


def questions_for(benchmark: Benchmark, country: str) -> tuple[BenchmarkQuestion, ...]:
    """The questions on one country, by name, in any case and under its usual other names.

    Raises:
      UserError: there is none; the message lists the countries there are.
    """
    found = tuple(
        question for question in benchmark.questions if same_country(question.country, country)
    )
    if not found:
        known = ", ".join(sorted({question.country for question in benchmark.questions}))
        raise UserError(f"country={country!r}: no question in {benchmark.source}; it has {known}")
    return found


def same_country(one: str, other: str) -> bool:
    """Whether two names mean the same country: `USA` and `the United States` do."""
    return _canonical(one) == _canonical(other)


def _canonical(country: str) -> str:
    name = " ".join(country.casefold().replace(".", "").split()).removeprefix("the ")
    return _ALIASES.get(name, name)


def _read_csv(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Numbered rows, as a spreadsheet numbers them: the header is row 1."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file, strict=True))
    except (OSError, ValueError, csv.Error) as error:  # ValueError: bytes that are no UTF-8
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"objective.benchmark={str(path)!r}: cannot read it ({reason}); give {FIXTURE} or the "
            "CSV of CulturalBench-Easy"
        ) from error
    header = [cell.strip() for cell in rows[0]] if rows else []
    numbered = []
    for number, cells in enumerate(rows[1:], 2):
        if not cells:  # an empty line
            continue
        if len(cells) != len(header):
            raise UserError(
                f"{path}: row {number} has {len(cells)} cells where the header has {len(header)}; "
                "put cells with a comma in quotes"
            )
        numbered.append((number, dict(zip(header, cells, strict=True))))
    return numbered
