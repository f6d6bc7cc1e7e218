"""CulturalBench (arXiv 2410.02677): cultural facts to choose among (Easy) or to judge (Hard)."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from jaxalign.errors import UserError

QUIZ_LABELS = ("A", "B", "C", "D")
HARD_LABELS = ("True", "False")
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
