"""Training examples: the survey as a trie, asked of somebody from a country, or of nobody in particular."""

from typing import Any, NamedTuple

import numpy as np

from jaxalign.prompts import Texts, TokenTrie, build_trie, encode, question_text, render_chat
from jaxalign.survey import Instrument

NOBODY = ""


class Batch(NamedTuple):
    """B tries padded to S nodes.

    Attributes:
      tokens_BS, positions_BS: of each node; 0 in the padding.
      mask_BSS: bool, itself and its ancestors; the padding attends to itself.
      read_BQ: answer node of each item.
      target_BQA: share of respondents for each option.
    """

    tokens_BS: np.ndarray
    positions_BS: np.ndarray
    mask_BSS: np.ndarray
    read_BQ: np.ndarray
    target_BQA: np.ndarray


class Examples:
    """Draws batches; each example is a country or nobody, a wording, and a place for the wording.

    A persona stands either in the system message or before everything else, where a soft prompt will
    stand. Nobody's answers are the mixture of all countries.

    Args:
      instrument: the survey.
      tokenizer: of the embedded model.
      texts: personas and country names.
      answers: country code to its answer distribution [Q, A].
    """

    def __init__(
        self, instrument: Instrument, tokenizer: Any, texts: Texts, answers: dict[str, np.ndarray]
    ):
        self._questions = [question_text(instrument, item) for item in instrument.items]
        self._tokenizer = tokenizer
        self._texts = texts
        self._answers = answers | {NOBODY: np.mean(list(answers.values()), axis=0)}
        self._tries: dict[tuple[str, str, int], TokenTrie] = {}
        longest = max(texts.personas, key=len)
        widest = max(texts.countries, key=lambda code: len(texts.countries[code]))
        self.size = self.trie(widest, longest, 0).size + 32

    def trie(self, country: str, wording: str, prefix: int) -> TokenTrie:
        """The survey's trie for a persona.

        Args:
          country: a code, or NOBODY.
          wording: with `{country}`.
          prefix: 0 puts the persona into the system message; a number puts it before everything
            else, cut or repeated to that many tokens.
        """
        key = (country, wording, prefix)
        if key not in self._tries:
            persona = wording.format(country=self._texts.countries[country]) if country else None
            before = np.resize(encode(self._tokenizer, persona), prefix) if persona and prefix else []
            self._tries[key] = build_trie(
                [
                    [*before, *encode(self._tokenizer, render_chat(self._tokenizer, text, system))]
                    for text in self._questions
                    for system in [None if prefix else persona]
                ]
            )
        return self._tries[key]

    def draw(self, rng: np.random.Generator, size: int) -> Batch:
        """A batch of `size` examples, one in twelve of them of nobody."""
        drawn = []
        for _ in range(size):
            country = NOBODY if rng.random() < 1 / 12 else str(rng.choice(list(self._texts.countries)))
            wording = str(rng.choice(self._texts.personas))
            prefix = int(rng.integers(6, 21)) if rng.random() < 0.7 else 0
            drawn.append((country, wording if country else "", prefix if country else 0))
        return self.batch(drawn)

    def batch(self, drawn: list[tuple[str, str, int]]) -> Batch:
        """Lays out chosen examples (country, wording, prefix)."""
        tries = [self.trie(*example) for example in drawn]
        shape = (len(tries), self.size)
        tokens_BS, positions_BS = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
        mask_BSS = np.broadcast_to(np.eye(self.size, dtype=bool), (*shape, self.size)).copy()
        for row, trie in enumerate(tries):
            tokens_BS[row, : trie.size] = trie.tokens_T
            positions_BS[row, : trie.size] = trie.positions_T
            mask_BSS[row, : trie.size, : trie.size] = trie.ancestors_TT()
        return Batch(
            tokens_BS,
            positions_BS,
            mask_BSS,
            np.stack([trie.answer_nodes_Q for trie in tries]),
            np.stack([self._answers[country] for country, _, _ in drawn]).astype(np.float32),
        )
