"""The token trie: all questions of a survey in one sequence that holds each shared prefix once."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ROOT = -1


@dataclass(frozen=True, eq=False)
class TokenTrie:
    """A prefix trie over token sequences, laid out depth-first in one row of T nodes.

    A node's state depends on the soft prompt and its ancestors only, so one forward pass over the
    T nodes under `ancestors_TT` equals separate passes over the sequences.

    Attributes:
      tokens_T: token id of each node.
      parents_T: index of each node's parent, smaller than its own; `ROOT` for a first token.
      positions_T: depth of each node, 0 for a first token; add the length of what stands before.
      answer_nodes_Q: node of the last token of each sequence, where the answer is read.
      padded: tokens of the same sequences in a batch padded to the longest, Q × longest.
    """

    tokens_T: np.ndarray
    parents_T: np.ndarray
    positions_T: np.ndarray
    answer_nodes_Q: np.ndarray
    padded: int

    @property
    def size(self) -> int:
        """T, the number of nodes."""
        return len(self.tokens_T)

    def of_first(self, count: int) -> "TokenTrie":
        """Return the same nodes, with only the first sequences counted as questions."""
        return self.with_answers(self.answer_nodes_Q[:count])

    def with_answers(self, nodes_Q: np.ndarray) -> "TokenTrie":
        """Return the same nodes, with answers read at these."""
        longest = self.padded // len(self.answer_nodes_Q)
        return dataclasses.replace(self, answer_nodes_Q=nodes_Q, padded=len(nodes_Q) * longest)

    def ancestors_TT(self) -> np.ndarray:
        """Bool [T, T]: whether the column's node is the row's own or an ancestor of it."""
        mask_TT = np.eye(self.size, dtype=bool)
        for node, parent in enumerate(self.parents_T):
            if parent != ROOT:
                mask_TT[node] |= mask_TT[parent]
        return mask_TT

    def saving(self, prompt_length: int) -> float:
        """Padded batch tokens ÷ trie tokens, the soft prompt of L rows counted in both."""
        questions = len(self.answer_nodes_Q)
        return (self.padded + questions * prompt_length) / (self.size + prompt_length)


def build_trie(sequences: Sequence[Sequence[int]]) -> TokenTrie:
    """Merge Q token sequences into a trie. Linear in the number of tokens.

    Equal sequences share their answer node; one that is a prefix of another is answered inside it.

    Raises:
      ValueError: there is no sequence, or one is empty.
    """
    if not sequences or not all(map(len, sequences)):
        raise ValueError("a trie needs at least one sequence, and each needs at least one token")
    children: dict[int, dict[int, int]] = {ROOT: {}}
    tokens: list[int] = []
    parents: list[int] = []
    depths: list[int] = []
    ends: list[int] = []
    for sequence in sequences:
        node = ROOT
        for depth, token in enumerate(map(int, sequence)):
            if token not in children[node]:
                children[node][token] = len(tokens)
                children[len(tokens)] = {}
                tokens.append(token)
                parents.append(node)
                depths.append(depth)
            node = children[node][token]
        ends.append(node)

    order = _depth_first(children)
    place = np.empty(len(order) + 1, np.int32)
    place[order] = np.arange(len(order))
    place[ROOT] = ROOT
    return TokenTrie(
        tokens_T=np.asarray(tokens, np.int32)[order],
        parents_T=place[np.asarray(parents)[order]],
        positions_T=np.asarray(depths, np.int32)[order],
        answer_nodes_Q=place[np.asarray(ends)],
        padded=len(sequences) * max(map(len, sequences)),
    )


def _depth_first(children: dict[int, dict[int, int]]) -> np.ndarray:
    """Nodes so that each unbranched run, and each subtree, is contiguous."""
    order, stack = [], [ROOT]
    while stack:
        node = stack.pop()
        if node != ROOT:
            order.append(node)
        stack.extend(reversed(children[node].values()))
    return np.asarray(order)
