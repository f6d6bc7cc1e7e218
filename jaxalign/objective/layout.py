"""Questions as arrays that a model can be asked with."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Int

from jaxalign.model import Tree, cut_tree, widen_tree
from jaxalign.prompts import ROOT, Longer, Questions, TokenTrie, build_questions
from jaxalign.survey import QuizQuestion


@struct.dataclass
class Layout:
    """What is asked: Q questions as one token trie of T nodes.

    The I items of the survey in each of F formats come first; B questions of CulturalBench follow.
    Options are in the survey's own order, whatever the format.

    Attributes:
      tokens_T, positions_T: the nodes' tokens and depths.
      mask_TT: whether the row's node attends to the column's; tree: the same in blocks.
      answer_nodes_Q: nodes at which answers are read.
      answer_ids_QA, offered_QA: option tokens, and whether the option exists.
      longer: options that one token does not tell apart, or None; see `prompts.Longer`.
    """

    tokens_T: Int[Array, " T"] | np.ndarray
    positions_T: Int[Array, " T"] | np.ndarray
    mask_TT: Bool[Array, "T T"] | np.ndarray
    tree: Tree
    answer_nodes_Q: Int[Array, " Q"] | np.ndarray
    answer_ids_QA: Int[Array, "Q A"] | np.ndarray
    offered_QA: Bool[Array, "Q A"] | np.ndarray
    longer: Longer | None = None


@struct.dataclass
class Turns:
    """The questions in B parts, of which one is asked at a time.

    Attributes:
      layout: of all parts, which have one shape, with a leading axis B.
      rows_BQ: index of each part's questions among all.
      generations: that a part is asked for.
    """

    layout: Layout
    rows_BQ: Int[Array, "B Q"] | np.ndarray
    generations: int = struct.field(pytree_node=False)


def make_layout(questions: Questions) -> Layout:
    """Lay out questions as arrays."""
    trie = questions.trie
    return Layout(
        tokens_T=trie.tokens_T,
        positions_T=trie.positions_T,
        mask_TT=trie.ancestors_TT(),
        tree=cut_tree(trie.parents_T),
        answer_nodes_Q=trie.answer_nodes_Q,
        answer_ids_QA=questions.answer_ids_QA,
        offered_QA=questions.offered_QA,
        longer=questions.longer,
    )


def make_layouts(
    tries: Sequence[TokenTrie],
    ids_offered: Sequence[tuple[np.ndarray, np.ndarray]],
    all_longer: Sequence[Longer | None],
    multiple: int = 1,
) -> list[Layout]:
    """Lay out several tries as arrays of one shape, so that one program serves all.

    Tokens that fill up a trie attend to themselves alone.

    Args:
      tries: each with Q questions.
      ids_offered: option tokens and which of them exist, [Q, A] of each trie.
      all_longer: options of several tokens of each trie, or None.
      multiple: that tokens and path lengths are filled up to.
    """

    def filled(number: int) -> int:
        return -(-number // multiple) * multiple

    size = filled(max(trie.size for trie in tries))
    trees = [cut_tree(_fill(trie.parents_T, size, ROOT)) for trie in tries]
    path = filled(max(tree.path_BM.shape[1] for tree in trees))
    slots = ids_offered[0][0].size
    return [
        Layout(
            tokens_T=_fill(trie.tokens_T, size, 0),
            positions_T=_fill(trie.positions_T, size, 0),
            mask_TT=_mask(trie, size),
            tree=widen_tree(tree, path),
            answer_nodes_Q=trie.answer_nodes_Q,
            answer_ids_QA=ids_QA,
            offered_QA=offered_QA,
            longer=longer,
        )
        for trie, tree, (ids_QA, offered_QA), longer in zip(
            tries, trees, ids_offered, _of_one_shape(all_longer, slots), strict=True
        )
    ]


def make_turns(
    questions: Questions,
    tokenizer: Any,
    quiz: Sequence[QuizQuestion],
    at_a_time: int,
    generations: int,
) -> Turns:
    """Cut questions into parts of some presentations each; the last is filled up with the first.

    Args:
      questions: in all presentations.
      tokenizer: a transformers tokenizer.
      quiz: asked with each part.
      at_a_time: presentations of a part.
      generations: that a part is asked for.
    """
    ways = questions.presentations
    parts_BK = np.resize(np.arange(len(ways)), (-(-len(ways) // at_a_time), at_a_time))
    row_Q = np.arange(len(questions.answer_ids_QA))
    asked_FI, quiz_B = np.split(row_Q, [len(row_Q) - len(quiz)])
    asked_FI = asked_FI.reshape(len(ways), -1)
    parts = [
        build_questions(
            ways[0].instrument, tokenizer, quiz=quiz, presentations=[ways[way] for way in part_K]
        )
        for part_K in parts_BK
    ]
    layouts = make_layouts(
        [part.trie for part in parts],
        [(part.answer_ids_QA, part.offered_QA) for part in parts],
        [part.longer for part in parts],
    )
    rows = [np.concatenate([asked_FI[part_K].ravel(), quiz_B]) for part_K in parts_BK]
    return Turns(jax.tree.map(lambda *each: np.stack(each), *layouts), np.stack(rows), generations)


def _of_one_shape(all_longer: Sequence[Longer | None], slots: int) -> list[Longer | None]:
    some = [longer for longer in all_longer if longer is not None]
    if not some:
        return list(all_longer)
    most = [max(len(x) for x in column) for column in zip(*some, strict=True)]
    none = Longer(*[np.zeros(0, np.int32)] * len(Longer._fields))
    return [(longer or none).filled(most[2], most[3], most[4], slots) for longer in all_longer]


def _fill(values_T: np.ndarray, size: int, value: int) -> np.ndarray:
    return np.pad(values_T, (0, size - len(values_T)), constant_values=value)


def _mask(trie: TokenTrie, size: int) -> np.ndarray:
    mask_TT = np.eye(size, dtype=bool)
    mask_TT[: trie.size, : trie.size] = trie.ancestors_TT()
    return mask_TT
