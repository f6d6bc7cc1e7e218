"""How options are written as tokens, where one token is not enough to tell them apart."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxalign.errors import UserError
from jaxalign.prompts.chat import encode, render_chat
from jaxalign.prompts.trie import TokenTrie, build_trie


class Path(NamedTuple):
    """One way to write one option: question and option by index, and its tokens."""

    question: int
    option: int
    tokens: tuple[int, ...]


class Longer(NamedTuple):
    """K ways to write options, of which the option's probability is the sum, as arrays.

    The probability of a way is that of its first token where the answer begins, times that of each
    later token at the node before it: E steps in all, read at N nodes.

    Attributes:
      question_K, first_K: the question's index and the first token.
      slot_K: the option, question × A + its index; beyond the last one where it only fills up.
      nodes_N: nodes of the trie whose next token matters.
      node_E, token_E, path_E: of each step the index into `nodes_N`, the token, and the way.
    """

    question_K: np.ndarray
    first_K: np.ndarray
    slot_K: np.ndarray
    nodes_N: np.ndarray
    node_E: np.ndarray
    token_E: np.ndarray
    path_E: np.ndarray

    def filled(self, paths: int, nodes: int, steps: int, slots: int) -> "Longer":
        """Return the same with so many ways, nodes and steps; what is added counts nowhere."""
        more_K, more_E = paths - len(self.slot_K), steps - len(self.node_E)
        return Longer(
            np.pad(self.question_K, (0, more_K)),
            np.pad(self.first_K, (0, more_K)),
            np.pad(self.slot_K, (0, more_K), constant_values=slots),
            np.pad(self.nodes_N, (0, nodes - len(self.nodes_N))),
            np.pad(self.node_E, (0, more_E)),
            np.pad(self.token_E, (0, more_E)),
            np.pad(self.path_E, (0, more_E), constant_values=paths),
        )


def spell(tokenizer: Any, text: str, labels: Sequence[str], where: str, remedy: str) -> list[list]:
    """Return the ways to write each label after a text, as tuples of tokens.

    A label may stand right after the text, or after a space where the text does not end in one
    itself. Where the options' first tokens differ, these alone are returned. Otherwise all tokens
    are, and behind a label that another one continues (1 and 10) what ends an answer.

    Args:
      tokenizer: a transformers tokenizer.
      text: up to where the answer begins.
      labels: of the options.
      where: names the question in messages.
      remedy: what the user can do, in messages.

    Raises:
      UserError: a label melts into the text before it, or two are written alike.
    """
    before = encode(tokenizer, text)
    spaces = [""] if text[-1:].isspace() else ["", " "]
    ways: list[list[tuple[int, ...]]] = []
    for label in labels:
        found = []
        for space in spaces:
            after = encode(tokenizer, text + space + label)
            if after[: len(before)] == before and len(after) > len(before):
                found.append(tuple(after[len(before) :]))
        if not found:
            raise UserError(
                f"{where}: option label {label!r} is not a token of its own after the question; "
                f"{remedy}"
            )
        ways.append(list(dict.fromkeys(found)))
    firsts = [{way[0] for way in found} for found in ways]
    if sum(map(len, firsts)) == len(set().union(*firsts)):
        return [[(first,) for first in dict.fromkeys(way[0] for way in found)] for found in ways]
    everything = [way for found in ways for way in found]
    for way in everything:
        if everything.count(way) > 1:
            one, other = [label for label, found in zip(labels, ways, strict=True) if way in found]
            raise UserError(
                f"{where}: options {one!r} and {other!r} are written with the same tokens; {remedy}"
            )
    return [
        [
            way + (_end_of_answer(tokenizer) if _is_continued(way, everything) else ())
            for way in found
        ]
        for found in ways
    ]


def lay_out_paths(
    sequences: Sequence[Sequence[int]], paths: Sequence[Path], options: int
) -> tuple[TokenTrie, Longer | None]:
    """Merge questions, and the beginnings of options of several tokens, into one trie.

    Args:
      sequences: tokens of the questions.
      paths: ways to write the options of questions that need more than `answer_ids_QA`.
      options: A.

    Returns:
      The trie, whose answer nodes are those of the questions; and the paths in it, None if there
      are none.
    """
    steps = [(row, place) for row, path in enumerate(paths) for place in range(1, len(path.tokens))]
    begun = [(*sequences[paths[r].question], *paths[r].tokens[:place]) for r, place in steps]
    prefixes = list(dict.fromkeys(begun))
    trie = build_trie([*sequences, *prefixes])
    nodes_N = trie.answer_nodes_Q[len(sequences) :]
    trie = trie.of_first(len(sequences))
    if not paths:
        return trie, None
    index = {prefix: place for place, prefix in enumerate(prefixes)}

    def array(values: Iterator[int]) -> np.ndarray:
        return np.fromiter(values, np.int32)

    return trie, Longer(
        question_K=array(path.question for path in paths),
        first_K=array(path.tokens[0] for path in paths),
        slot_K=array(path.question * options + path.option for path in paths),
        nodes_N=nodes_N.astype(np.int32),
        node_E=array(index[prefix] for prefix in begun),
        token_E=array(paths[row].tokens[place] for row, place in steps),
        path_E=array(row for row, _ in steps),
    )


def _is_continued(way: tuple[int, ...], others: Sequence[tuple[int, ...]]) -> bool:
    return any(other != way and other[: len(way)] == way for other in others)


def _end_of_answer(tokenizer: Any) -> tuple[int, ...]:
    """Return the token that the template puts behind an answer of the assistant's."""
    answer = "ANSWER"
    text = render_chat(tokenizer, "QUESTION", before=[("QUESTION", answer)])
    return (encode(tokenizer, text.partition(answer)[2])[0],)
