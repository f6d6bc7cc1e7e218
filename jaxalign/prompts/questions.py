"""A survey's items and a quiz's questions as token sequences, and the tokens of answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jaxalign.errors import UserError
from jaxalign.prompts.chat import encode, render_chat
from jaxalign.prompts.formats import USUAL, Format
from jaxalign.prompts.labels import Longer, Path, lay_out_paths, spell
from jaxalign.prompts.presentations import Presentation, present
from jaxalign.prompts.trie import TokenTrie, build_trie
from jaxalign.survey import QUIZ_LABELS, Instrument, Item, QuizQuestion

_QUIZ_INSTRUCTION = "Reply with the letter of one option only."
_OTHER_LABELS = "choose other labels in the survey file"
_NO_QUIZ = "this tokenizer cannot be asked for letters: leave CulturalBench out"


@dataclass(frozen=True, eq=False)
class Questions:
    """A survey, and perhaps a quiz, ready to be asked.

    Attributes:
      trie: all Q questions, up to where the answer begins: the survey's items in each of F
        presentations, then the quiz's B questions.
      answer_ids_QA: token of each option; repeats the first where a question has fewer
        than A options.
      offered_QA: bool, whether the option exists.
      longer: options that one token does not tell apart; None where it always does.
      presentations: the F ways in which the survey is put.
      right_B: int32, index of the right option of each quiz question.
    """

    trie: TokenTrie
    answer_ids_QA: np.ndarray
    offered_QA: np.ndarray
    longer: Longer | None
    presentations: tuple[Presentation, ...]
    right_B: np.ndarray


class Asked(NamedTuple):
    """What a question of any kind needs to become tokens.

    Attributes:
      user: the user's message.
      labels: what the answer may begin with.
      where: names the question in messages; remedy: what the user can do, in messages.
      system: text of a system message before it, or None; before: earlier messages of the user with
        the assistant's answers.
      others: what else the answer may begin with, which counts for nothing.
    """

    user: str
    labels: tuple[str, ...]
    where: str
    remedy: str = _OTHER_LABELS
    system: str | None = None
    before: tuple[tuple[str, str], ...] = ()
    others: tuple[str, ...] = ()


def question_text(instrument: Instrument, item: Item, shown: Format = USUAL) -> str:
    """Return the user's message for one item.

    Ordered so that what items share comes first (stem, options, instruction, then the item): the
    24 items of VSM13 make a third fewer trie tokens than with the options last.
    """
    options = [
        option if label == option else f"{label} = {option}" for label, option in shown.shown(item)
    ]
    return "\n".join([item.stem, *options, shown.instruction(instrument), item.text])


def quiz_text(question: QuizQuestion) -> str:
    """Return the user's message for one question of a quiz.

    The instruction stands first, since nothing after it is shared: questions differ from their
    first word on.
    """
    labels = QUIZ_LABELS[: len(question.options)]
    options = [f"{label}. {option}" for label, option in zip(labels, question.options, strict=True)]
    return "\n".join([_QUIZ_INSTRUCTION, question.text, *options])


def build_questions(
    instrument: Instrument,
    tokenizer: Any,
    system: str | None = None,
    quiz: Sequence[QuizQuestion] = (),
    presentations: Sequence[Presentation] = (),
) -> Questions:
    """Tokenise a survey and a quiz and merge their questions into one trie.

    Args:
      instrument: the survey.
      tokenizer: a transformers tokenizer.
      system: text of a system message before each question, such as a persona; None for none.
      quiz: further questions, asked after the survey's items.
      presentations: of the survey, all items in one before the next; the usual one if empty.

    Raises:
      UserError: two options of a question are written alike, or an option has no token.
    """
    ways = tuple(presentations or present(instrument, USUAL))
    asked = [one for way in ways for one in ask_presentation(way, system)]
    asked += ask_quiz(quiz, system)
    encoded = encode_asked(tokenizer, asked)
    options = encoded.offered_QA.shape[1]
    trie, longer = lay_out_paths(encoded.sequences, encoded.paths, options)
    return Questions(
        trie=trie,
        answer_ids_QA=encoded.answer_ids_QA,
        offered_QA=encoded.offered_QA,
        longer=longer,
        presentations=ways,
        right_B=np.array([question.right for question in quiz], np.int32),
    )


def ask_items(
    instrument: Instrument, shown: Format = USUAL, system: str | None = None
) -> list[Asked]:
    """Return a survey's items in one format."""
    suffix = "" if shown == USUAL else f" in format {shown.name}"
    return [
        Asked(
            question_text(instrument, item, shown),
            shown.labels_of(item),
            f"item {item.id}{suffix}",
            system=system,
            others=tuple(label for label, _ in shown.nonresponse_of(item)),
        )
        for item in instrument.items
    ]


def ask_presentation(way: Presentation, persona: str | None = None) -> list[Asked]:
    """Return a survey's items in one presentation, behind a persona if one is given."""
    system = " ".join(filter(None, (way.system and way.system[1], persona))) or None
    before = way.conversation[1] if way.conversation else ()
    asked = ask_items(way.instrument, way.shown, system)
    if way.name == way.shown.name and not before:
        return asked
    where = [f"item {item.id} in presentation {way.name}" for item in way.instrument.items]
    return [one._replace(before=before, where=at) for one, at in zip(asked, where, strict=True)]


def ask_quiz(quiz: Sequence[QuizQuestion], system: str | None = None) -> list[Asked]:
    """Return questions of a quiz, answered by a letter."""
    return [
        Asked(
            quiz_text(question),
            QUIZ_LABELS[: len(question.options)],
            f"quiz question {question.id}",
            _NO_QUIZ,
            system,
        )
        for question in quiz
    ]


def encode_requests(tokenizer: Any, texts: Sequence[str], system: str | None = None) -> Questions:
    """Return messages without options as questions, up to where the answer begins."""
    trie = build_trie([encode(tokenizer, render_chat(tokenizer, text, system)) for text in texts])
    none = np.zeros((len(texts), 1), np.int32)
    return Questions(trie, none, none.astype(bool), None, (), none[:0, 0])


class Encoded(NamedTuple):
    """Questions as tokens.

    Attributes:
      sequences: of each question up to its answer.
      answer_ids_QA: int32, the first token of each option, which repeats the first option's where a
        question has fewer than A.
      offered_QA: bool, whether there is such an option.
      paths: all ways to write the options of the questions for which these tokens are not enough.
    """

    sequences: list[list[int]]
    answer_ids_QA: np.ndarray
    offered_QA: np.ndarray
    paths: list[Path]


def encode_asked(tokenizer: Any, asked: Sequence[Asked]) -> Encoded:
    """Return questions as tokens.

    Raises:
      UserError: two options of a question are written alike, or an option has no token.
    """
    options = max(len(one.labels) for one in asked)
    answer_ids_QA = np.empty((len(asked), options), np.int32)
    offered_QA = np.zeros((len(asked), options), bool)
    sequences, paths = [], []
    for row, one in enumerate(asked):
        text = render_chat(tokenizer, one.user, one.system, one.before)
        ways = spell(tokenizer, text, one.labels + one.others, one.where, one.remedy)
        ways = ways[: len(one.labels)]
        answer_ids_QA[row] = ways[0][0][0]
        answer_ids_QA[row, : len(ways)] = [found[0][0] for found in ways]
        offered_QA[row, : len(ways)] = True
        if any(found != [found[0][:1]] for found in ways):
            paths += [Path(row, option, way) for option, found in enumerate(ways) for way in found]
        sequences.append(encode(tokenizer, text))
    return Encoded(sequences, answer_ids_QA, offered_QA, paths)


def option_ids(
    tokenizer: Any,
    text: str,
    labels: tuple[str, ...],
    where: str,
    remedy: str = _OTHER_LABELS,
) -> list[int]:
    """First token of each label as the tokenizer writes it after `text`.

    Args:
      tokenizer: a transformers tokenizer.
      text: what stands before the answer.
      labels: of the options.
      where: names the question in messages.
      remedy: what the user can do, in messages.

    Raises:
      UserError: a label melts into the text before it, or two labels share their first token.
    """
    before = encode(tokenizer, text)
    ids: list[int] = []
    for label in labels:
        after = encode(tokenizer, text + label)
        if after[: len(before)] != before or len(after) == len(before):
            raise UserError(
                f"{where}: option label {label!r} is not a token of its own after the question; "
                f"{remedy}"
            )
        first = after[len(before)]
        if first in ids:
            raise UserError(
                f"{where}: options {labels[ids.index(first)]!r} and {label!r} begin with the same "
                f"token {tokenizer.convert_ids_to_tokens(first)!r}; {remedy}"
            )
        ids.append(first)
    return ids
