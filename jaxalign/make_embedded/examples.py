"""Training examples: the survey's trie, asked of somebody from a country or of nobody."""

from collections.abc import Sequence
from operator import add
from typing import Any, NamedTuple

import numpy as np

from jaxalign.make_embedded.tokenizer import SPECIAL
from jaxalign.prompts import (
    ROOT,
    Format,
    Texts,
    TokenTrie,
    ask_items,
    build_trie,
    encode,
    encode_asked,
    render_chat,
)
from jaxalign.survey import Instrument

NOBODY = ""
END = "<|eot_id|>"
LONGEST = 28  # tokens of a persona
_SHARE_OF_NOBODY = 0.12
_SHARE_BEFORE_ALL = 0.6


class Form(NamedTuple):
    """The survey in one wording and format, perhaps with an answer written after each question.

    Attributes:
      trie: of all questions and written answers.
      answer_nodes_Q: where answers are read; answer_ids_QA: token of each option.
      written_W: nodes of written answers; next_W: the token that follows each of them.
    """

    trie: TokenTrie
    answer_nodes_Q: np.ndarray
    answer_ids_QA: np.ndarray
    written_W: np.ndarray
    next_W: np.ndarray


def make_form(
    tokenizer: Any, instrument: Instrument, shown: Format, option: int | None = None
) -> Form:
    """Lay out a survey; with an `option` each item is answered by that one of its options."""
    asked = ask_items(instrument, shown)
    sequences, answer_ids_QA, *_ = encode_asked(tokenizer, asked)
    written: list[list[int]] = [[] for _ in asked]
    if option is not None:
        for place, one in enumerate(asked):
            text = render_chat(tokenizer, one.user)
            label = one.labels[option % len(one.labels)]
            written[place] = encode(tokenizer, text + label)[len(sequences[place]) :]
    # The questions themselves come last, only to find their answer nodes.
    trie = build_trie([*map(add, sequences, written), *sequences])
    nodes, following = [], []
    end = encode(tokenizer, END)
    for place, tokens in enumerate(written):
        node = trie.answer_nodes_Q[place]
        for after in [*end, *reversed(tokens[1:])]:
            nodes.append(node)
            following.append(after)
            node = trie.parents_T[node]
    if option is None:
        nodes, following = [], []
    return Form(
        trie,
        trie.answer_nodes_Q[len(asked) :],
        answer_ids_QA,
        np.asarray(nodes, np.int32),
        np.asarray(following, np.int32),
    )


class Batch(NamedTuple):
    """B tries padded to S nodes.

    Attributes:
      tokens_BS, positions_BS: of each node; 0 in the padding.
      mask_BSS: bool, itself and its ancestors; the padding attends to itself.
      read_BQ: answer node of each item.
      answer_ids_BQA: token of each option.
      target_BQA: share of respondents for each option.
      written_BW: nodes of written answers; next_BW: the token after each, -1 in the padding.
    """

    tokens_BS: np.ndarray
    positions_BS: np.ndarray
    mask_BSS: np.ndarray
    read_BQ: np.ndarray
    answer_ids_BQA: np.ndarray
    target_BQA: np.ndarray
    written_BW: np.ndarray
    next_BW: np.ndarray


class Examples:
    """Draws batches; each example is the survey in some wording and format, asked of somebody.

    A respondent is a country or nobody, given by a persona at some place of the chat.

    A persona stands either in the system message or before everything else, where a soft prompt
    will stand. The wording is a sentence or, with probability `noise`, the country's name between
    random words, so that the model reads the name in any wording; random words without a country
    are answered as nobody would: by the mixture of all countries. Begin without noise: with it
    from the start the model had not found the names after 1,250 steps, without it after 400 it had.

    Args:
      tokenizer: of the embedded model.
      forms: the survey without a persona, in several wordings and formats.
      shares: of the examples, of each of these.
      texts: personas and country names.
      answers: country code to its answer distribution [Q, A].
    """

    def __init__(
        self,
        tokenizer: Any,
        forms: Sequence[Form],
        shares: Sequence[float],
        texts: Texts,
        answers: dict[str, np.ndarray],
    ):
        self._tokenizer = tokenizer
        self._texts = texts
        self._forms, self._shares = forms, shares
        self._ancestors = [form.trie.ancestors_TT() for form in forms]
        self._answers = answers | {NOBODY: np.mean(list(answers.values()), axis=0)}
        self._codes = list(answers)
        names = {id_ for name in texts.countries.values() for id_ in encode(tokenizer, f" {name}")}
        words = [tokenizer.decode([id_]) for id_ in range(len(tokenizer)) if id_ not in names]
        self._words = [
            word for word in words if word.isascii() and word.isprintable() and word not in SPECIAL
        ]
        self._header = encode(tokenizer, "<|start_header_id|>system<|end_header_id|>\n\n")
        self._footer = encode(tokenizer, END)
        longest = max(form.trie.size for form in forms)
        self._most_written = max(len(form.written_W) for form in forms)
        self.size = longest + LONGEST + len(self._header) + len(self._footer)

    def draw(self, rng: np.random.Generator, size: int, noise: float) -> Batch:
        """Return a batch of `size` examples."""
        forms = np.zeros(size, int)
        if len(self._forms) > 1:
            forms = rng.choice(len(self._forms), size, p=self._shares)
        return self.batch([(*self._draw(rng, noise), int(form)) for form in forms])

    def _draw(self, rng: np.random.Generator, noise: float) -> tuple[str, list[int], bool]:
        before_all = bool(rng.random() < _SHARE_BEFORE_ALL)
        if rng.random() < _SHARE_OF_NOBODY:
            words = self._random_words(rng, 0, LONGEST) if rng.random() < noise else ""
            return NOBODY, encode(self._tokenizer, words)[:LONGEST], before_all
        code = str(rng.choice(self._codes))
        name = self._texts.countries[code]
        if rng.random() < noise:
            front, back = self._random_words(rng, 0, 12), self._random_words(rng, 0, 6)
            return code, encode(self._tokenizer, f"{front} {name}{back}")[:LONGEST], before_all
        ids = encode(self._tokenizer, str(rng.choice(self._texts.personas)).format(country=name))
        if before_all:  # as `encode_texts` cuts and repeats; never so short that the name is lost
            ids = list(np.resize(ids, int(rng.integers(len(ids), max(len(ids), 21) + 1))))
        return code, ids[:LONGEST], before_all

    def _random_words(self, rng: np.random.Generator, least: int, most: int) -> str:
        return "".join(rng.choice(self._words, int(rng.integers(least, most + 1))))

    def batch(self, drawn: list[tuple[str, list[int], bool, int]]) -> Batch:
        """Lay out examples of (country, persona's token ids, whether before all, which form)."""
        shape = (len(drawn), self.size)
        tokens_BS, positions_BS = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        mask_BSS = np.broadcast_to(np.eye(self.size, dtype=bool), (*shape, self.size)).copy()
        read = []
        written_BW = np.zeros((len(drawn), self._most_written), np.int32)
        next_BW = np.full_like(written_BW, -1)
        for row, (_, ids, before_all, form) in enumerate(drawn):
            chain = ids if before_all or not ids else [*self._header, *ids, *self._footer]
            at = 0 if before_all else 1  # a system message follows the begin-of-text token
            tokens, positions, mask = self._insert(form, at, chain)
            laid = self._forms[form]
            tokens_BS[row, : len(tokens)] = tokens
            positions_BS[row, : len(tokens)] = positions
            mask_BSS[row, : len(tokens), : len(tokens)] = mask
            read.append(laid.answer_nodes_Q + len(chain))
            written_BW[row, : len(laid.written_W)] = laid.written_W + len(chain)
            next_BW[row, : len(laid.next_W)] = laid.next_W
        targets = np.stack([self._answers[country] for country, *_ in drawn]).astype(np.float32)
        return Batch(
            tokens_BS,
            positions_BS,
            mask_BSS,
            read_BQ=np.stack(read),
            answer_ids_BQA=np.stack([self._forms[form].answer_ids_QA for *_, form in drawn]),
            target_BQA=targets,
            written_BW=written_BW,
            next_BW=next_BW,
        )

    def _insert(
        self, form: int, at: int, chain: list[int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the trie with a chain of tokens inserted before node `at`."""
        trie, count = self._forms[form].trie, len(chain)
        assert trie.parents_T[0] == ROOT and (trie.positions_T[1:] > 0).all()
        tokens = np.concatenate(
            [trie.tokens_T[:at], np.asarray(chain, np.int32), trie.tokens_T[at:]]
        )
        positions = np.concatenate(
            [trie.positions_T[:at], at + np.arange(count), trie.positions_T[at:] + count]
        )
        mask = np.zeros((len(tokens), len(tokens)), bool)
        old = np.r_[:at, at + count : len(tokens)]
        mask[np.ix_(old, old)] = self._ancestors[form]
        mask[at : at + count, :at] = True
        mask[at : at + count, at : at + count] = np.tri(count, dtype=bool)
        mask[at + count :, at : at + count] = True
        return tokens, positions, mask
