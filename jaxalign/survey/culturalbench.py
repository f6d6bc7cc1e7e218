"""CulturalBench (arXiv 2410.02677): cultural facts to choose among (Easy) or to judge (Hard).

The questions, and how they are made of the rows of CulturalBench's two tables.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from jaxalign.errors import UserError

QUIZ_LABELS = ("A", "B", "C", "D")
HARD_LABELS = ("True", "False")
Rows = Iterable[tuple[int, dict[str, str]]]  # number in the file, and column name to cell
_OPTIONS = tuple(f"prompt_option_{label.lower()}" for label in QUIZ_LABELS)
_EASY = ("question_idx", "prompt_question", *_OPTIONS, "answer", "country")
_HARD = ("data_idx", "question_idx", "prompt_question", "prompt_option", "answer", "country")
_ROWS_A_QUESTION = 4
# As Python and pandas write them, and as spreadsheets do.
_TRUTH = {"True": True, "TRUE": True, "False": False, "FALSE": False}
_MISSING = ("nan", "NaN", "<NA>")
_FIXTURE_NOTICE = (
    "fixture: 20 questions of our own in CulturalBench's format; scores on them say nothing about "
    "CulturalBench"
)
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
class QuizQuestion:
    """One question of CulturalBench-Easy.

    Attributes:
      id: the quiz's own; country: name, as the file spells it.
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
class HardRow:
    """One judgement of CulturalBench-Hard: whether an option answers a question.

    Attributes:
      id: the row's own; question: id of the question that up to four rows share.
      country: name, as the file spells it.
      text: the question.
      option: the answer to judge; never empty.
      answer: whether it is right.
    """

    id: str
    question: str
    country: str
    text: str
    option: str
    answer: bool


Asked = TypeVar("Asked", QuizQuestion, HardRow)


@dataclass(frozen=True)
class Quiz(Generic[Asked]):
    """A file of questions.

    Attributes:
      questions: in the order of the file; of CulturalBench-Hard, its rows.
      skipped_options: number of empty options that were left out.
      source: the file or hub commit, or `fixture`.
      fixture: whether these are our own few questions and not the quiz.
    """

    questions: tuple[Asked, ...]
    skipped_options: int
    source: str
    fixture: bool

    @property
    def notice(self) -> str | None:
        """What every output that uses these questions must say, or None."""
        return _FIXTURE_NOTICE if self.fixture else None


def questions_for(quiz: Quiz[Asked], country: str) -> tuple[Asked, ...]:
    """Return the questions on one country, by name, in any case and under its usual other names.

    Raises:
      UserError: there is none; the message lists the countries there are.
    """
    found = tuple(
        question for question in quiz.questions if same_country(question.country, country)
    )
    if not found:
        known = ", ".join(sorted({question.country for question in quiz.questions}))
        raise UserError(f"country={country!r}: no question in {quiz.source}; it has {known}")
    return found


def same_country(one: str, other: str) -> bool:
    """Return whether two names mean the same country: `USA` and `the United States` do."""
    return _canonical(one) == _canonical(other)


def _canonical(country: str) -> str:
    name = " ".join(country.casefold().replace(".", "").split()).removeprefix("the ")
    return _ALIASES.get(name, name)


def parse_easy(rows: Rows, source: str) -> tuple[tuple[QuizQuestion, ...], int]:
    """Return questions of CulturalBench-Easy, and how many empty options were left out.

    Args:
      rows: from whatever kind of file.
      source: names the file in messages.

    Raises:
      UserError: no row, a column or cell is missing, the answer is not the letter of an option,
        there are fewer than two options, or two questions have the same number.
    """
    questions: dict[str, QuizQuestion] = {}
    skipped = 0
    for number, row in rows:
        where = f"{source}: row {number}"
        cells = _cells(row, _EASY, _OPTIONS, source, where, "CulturalBench-Easy")
        id_, answer = cells["question_idx"], cells["answer"]
        if id_ in questions:
            raise UserError(f"{where}: question_idx {id_!r} appears twice")
        if answer not in QUIZ_LABELS:
            raise UserError(f"{where}: answer {answer!r} is not one of {', '.join(QUIZ_LABELS)}")
        offered = [column for column in _OPTIONS if cells[column]]
        if len(offered) < 2:
            raise UserError(f"{where} has {len(offered)} options; a choice needs at least two")
        right = _OPTIONS[QUIZ_LABELS.index(answer)]
        if right not in offered:
            raise UserError(f"{where}: answer {answer!r} names an empty option, {right}")
        skipped += len(_OPTIONS) - len(offered)
        questions[id_] = QuizQuestion(
            id=id_,
            country=cells["country"],
            text=cells["prompt_question"],
            options=tuple(cells[column] for column in offered),
            right=offered.index(right),
        )
    if not questions:
        raise UserError(f"{source}: has no questions")
    return tuple(questions.values()), skipped


def parse_hard(rows: Rows, source: str) -> tuple[tuple[HardRow, ...], int]:
    """Return rows of CulturalBench-Hard, and how many were left out because their option is empty.

    Args:
      rows: from whatever kind of file; the four rows of a question need not stand together.
      source: names the file in messages.

    Raises:
      UserError: no row, a column or cell is missing, the answer is neither True nor False, or a
        question has not four rows, two countries, or empty options only.
    """
    judged: dict[str, list[HardRow]] = {}  # by question, rows with an empty option included
    for number, row in rows:
        where = f"{source}: row {number}"
        cells = _cells(row, _HARD, ("prompt_option",), source, where, "CulturalBench-Hard")
        question, answer = cells["question_idx"], cells["answer"]
        if answer not in _TRUTH:
            raise UserError(f"{where}: answer {answer!r} is not True or False")
        same = judged.setdefault(question, [])
        if same and same[0].country != cells["country"]:
            raise UserError(
                f"{where}: question_idx {question!r} is on {cells['country']} here and on "
                f"{same[0].country} before"
            )
        same.append(
            HardRow(
                id=cells["data_idx"],
                question=question,
                country=cells["country"],
                text=cells["prompt_question"],
                option=cells["prompt_option"],
                answer=_TRUTH[answer],
            )
        )
    if not judged:
        raise UserError(f"{source}: has no questions")
    for question, same in judged.items():
        # Fewer would make the question easier: all rows of it must be right.
        if len(same) != _ROWS_A_QUESTION:
            raise UserError(
                f"{source}: question_idx {question!r} has {len(same)} rows; CulturalBench-Hard has "
                f"{_ROWS_A_QUESTION} for each question"
            )
        if not any(row.option for row in same):
            raise UserError(f"{source}: question_idx {question!r} has empty options only")
    asked = tuple(row for same in judged.values() for row in same if row.option)
    return asked, _ROWS_A_QUESTION * len(judged) - len(asked)


def _cells(
    row: dict[str, str],
    columns: tuple[str, ...],
    may_be_empty: tuple[str, ...],
    source: str,
    where: str,
    form: str,
) -> dict[str, str]:
    """Return a row's cells without needless white space; complete but for `may_be_empty`."""
    missing = [column for column in columns if column not in row]
    if missing:
        raise UserError(f"{source}: lacks the columns {', '.join(missing)} of {form}")
    # On one line: a line break within an option would look like a further option.
    cells = {column: " ".join(row[column].split()) for column in columns}
    empty = [column for column in columns if column not in may_be_empty and not cells[column]]
    if empty:
        raise UserError(f"{where} has no {', '.join(empty)}")
    for column, cell in cells.items():
        if cell in _MISSING:
            raise UserError(
                f"{where}: {column} is {cell!r}, as pandas writes a text that is missing; leave "
                "the cell empty, or write more than this word"
            )
    return cells
