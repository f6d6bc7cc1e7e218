"""The token trie against brute force over its definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxalign.prompts import ROOT, build_questions, build_trie, encode, question_text, render_chat

# Few tokens, so that prefixes are shared often.
SEQUENCES = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=7), min_size=1, max_size=9)


def path_to(trie, node: int) -> list[int]:
    """Tokens from a root to a node."""
    walked = []
    while node != ROOT:
        walked.append(int(trie.tokens_T[node]))
        node = int(trie.parents_T[node])
    return walked[::-1]


def subtree(trie, top: int) -> list[int]:
    """The nodes at or below one, found by walking up from every node."""
    found = []
    for node in range(trie.size):
        above = node
        while above not in (ROOT, top):
            above = int(trie.parents_T[above])
        if above == top:
            found.append(node)
    return found


@settings(max_examples=150, deadline=None)
@given(SEQUENCES)
def test_trie_follows_its_definition(sequences):
    trie = build_trie(sequences)
    for sequence, node in zip(sequences, trie.answer_nodes_Q, strict=True):
        assert path_to(trie, int(node)) == sequence
    prefixes = {tuple(sequence[: i + 1]) for sequence in sequences for i in range(len(sequence))}
    assert trie.size == len(prefixes)
    assert {tuple(path_to(trie, node)) for node in range(trie.size)} == prefixes
    pairs = list(zip(trie.parents_T.tolist(), trie.tokens_T.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    assert all(ROOT <= parent < node for node, parent in enumerate(trie.parents_T))
    assert trie.positions_T.tolist() == [len(path_to(trie, i)) - 1 for i in range(trie.size)]
    for array in (trie.tokens_T, trie.parents_T, trie.positions_T, trie.answer_nodes_Q):
        assert array.dtype == np.int32


@settings(max_examples=100, deadline=None)
@given(SEQUENCES)
def test_ancestors_equal_brute_force(sequences):
    trie = build_trie(sequences)
    expected_TT = np.zeros((trie.size, trie.size), bool)
    for top in range(trie.size):
        expected_TT[subtree(trie, top), top] = True
    np.testing.assert_array_equal(trie.ancestors_TT(), expected_TT)
    assert not np.triu(expected_TT, 1).any()


@settings(max_examples=100, deadline=None)
@given(SEQUENCES)
def test_each_subtree_is_contiguous(sequences):
    trie = build_trie(sequences)
    for top in range(trie.size):
        nodes = subtree(trie, top)
        assert nodes == list(range(top, top + len(nodes)))


@settings(max_examples=50, deadline=None)
@given(SEQUENCES, st.randoms(use_true_random=False))
def test_the_order_of_the_questions_only_renames_nodes(sequences, random):
    order = list(range(len(sequences)))
    random.shuffle(order)
    trie, shuffled = build_trie(sequences), build_trie([sequences[i] for i in order])
    assert (shuffled.size, shuffled.padded) == (trie.size, trie.padded)
    for place, index in enumerate(order):
        node = int(shuffled.answer_nodes_Q[place])
        assert path_to(shuffled, node) == path_to(trie, int(trie.answer_nodes_Q[index]))


def test_a_trie_laid_out_by_hand():
    # 7 ─ 8 ─ 9     the first sequence
    #     └── 5 ─ 6 the second; the third, 7 8, ends within both; the fourth is the first again
    trie = build_trie([[7, 8, 9], [7, 8, 5, 6], [7, 8], [7, 8, 9], [4]])
    assert trie.tokens_T.tolist() == [7, 8, 9, 5, 6, 4]
    assert trie.parents_T.tolist() == [ROOT, 0, 1, 1, 3, ROOT]
    assert trie.positions_T.tolist() == [0, 1, 2, 2, 3, 0]
    assert trie.answer_nodes_Q.tolist() == [2, 4, 1, 2, 5]
    assert trie.ancestors_TT().astype(int).tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 0, 1, 0, 0],
        [1, 1, 0, 1, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]
    # Padded: 5 questions of 4 tokens. With 3 prompt rows: (20 + 15) / (6 + 3).
    assert trie.padded == 20
    assert trie.saving(0) == pytest.approx(20 / 6)
    assert trie.saving(3) == pytest.approx(35 / 9)


def test_one_sequence_saves_nothing():
    assert build_trie([[1, 1, 1]]).saving(5) == 1.0


@pytest.mark.parametrize("sequences", [[], [[]], [[1, 2], []]])
def test_nothing_to_merge(sequences):
    with pytest.raises(ValueError, match="at least one"):
        build_trie(sequences)


def test_saving_on_the_survey(vsm13, trained):
    trie = build_questions(vsm13, trained).trie
    texts = [render_chat(trained, question_text(vsm13, item)) for item in vsm13.items]
    lengths = [len(encode(trained, text)) for text in texts]
    assert trie.padded == 24 * max(lengths)
    assert trie.saving(9) > 3
    # The prompt itself is shared too, so a longer one saves more.
    assert trie.saving(0) < trie.saving(9) < trie.saving(100) < 24


def test_shared_parts_first_makes_a_third_fewer_tokens(vsm13, trained):
    def options_last(item) -> str:
        stem, *options, instruction, text = question_text(vsm13, item).split("\n")
        return "\n".join([stem, text, *options, instruction])

    texts = [render_chat(trained, options_last(item)) for item in vsm13.items]
    last = build_trie([encode(trained, text) for text in texts])
    assert build_questions(vsm13, trained).trie.size < 0.7 * last.size
