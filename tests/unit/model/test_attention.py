"""Every implementation of attention gives what the dense one gives, and looks at fewer pairs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiers import NIGHTLY, every

from jaxalign.model import AUTO, attend, cut_tree
from jaxalign.prompts import build_trie

PLAIN = (AUTO, "xla", "blocks")  # the kernels have a file of their own
SEQUENCES = st.lists(
    st.lists(st.integers(0, 2), min_size=1, max_size=9), min_size=1, max_size=9
).map(build_trie)


def mask_below(trie, length: int) -> np.ndarray:
    """A chain of `length` rows, and the trie below its last one."""
    return np.block(
        [
            [np.tri(length, dtype=bool), np.zeros((length, trie.size), bool)],
            [np.ones((trie.size, length), bool), trie.ancestors_TT()],
        ]
    )


def draw(length: int, heads: int, kv_heads: int, dtype=jnp.float32) -> list[jax.Array]:
    shapes = [(length, heads, 8), (length, kv_heads, 8), (length, kv_heads, 8)]
    keys = jax.random.split(jax.random.key(0), 3)
    return [
        4.0 * jax.random.normal(key, shape, dtype) for key, shape in zip(keys, shapes, strict=True)
    ]


@settings(max_examples=60, deadline=None)
@given(trie=SEQUENCES, rows=st.integers(1, 7))
def test_blocks_hold_each_allowed_pair_once(trie, rows):
    tree = cut_tree(trie.parents_T, rows)
    seen_TT = np.zeros((trie.size, trie.size), int)
    for block, (path, path_mask, own_mask) in enumerate(
        zip(tree.path_BM, tree.path_mask_BRM, tree.own_mask_BRR, strict=True)
    ):
        for at in range(path_mask.shape[0]):
            row = block * path_mask.shape[0] + at
            columns = [*path[path_mask[at]], *(row - at + np.flatnonzero(own_mask[at]))]
            if row < trie.size:
                np.add.at(seen_TT[row], columns, 1)
            else:
                assert not columns
    np.testing.assert_array_equal(seen_TT, trie.ancestors_TT())


@settings(max_examples=10 if NIGHTLY else 2, deadline=None)
@given(
    trie=SEQUENCES,
    rows=st.integers(1, 7),
    length=st.integers(0, 3),
    heads=st.sampled_from([(2, 1), (4, 4), (6, 2)]),
)
def test_all_agree(trie, rows, length, heads):
    mask_SS = jnp.asarray(mask_below(trie, length))
    arrays = draw(trie.size + length, *heads)
    tree = cut_tree(trie.parents_T, rows)
    expected = attend(*arrays, mask_SS, implementation="xla")
    for name in PLAIN:
        found = attend(*arrays, mask_SS, tree, name)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("name", every(PLAIN, "blocks"))
def test_bfloat16_rounds_inputs_and_weights_only(name):
    trie = build_trie([[1, 2, 3, 4], [1, 2, 5], [6]])
    exact = draw(trie.size + 2, 4, 2)
    mask_SS = jnp.asarray(mask_below(trie, 2))
    found = attend(
        *[array.astype(jnp.bfloat16) for array in exact], mask_SS, cut_tree(trie.parents_T, 3), name
    )
    assert found.dtype == jnp.bfloat16
    expected = attend(*exact, mask_SS, implementation="xla")
    np.testing.assert_allclose(found.astype(jnp.float32), expected, atol=0.25)


@pytest.mark.parametrize("name", every(PLAIN, "blocks"))
def test_gradients_agree(name):
    trie = build_trie([[1, 2, 3, 4], [1, 2, 5], [6]])
    arrays = draw(trie.size + 2, 4, 2)
    mask_SS = jnp.asarray(mask_below(trie, 2))
    tree = cut_tree(trie.parents_T, 3)

    def total(arrays, name):
        return jnp.sum(jnp.sin(attend(*arrays, mask_SS, tree, name)))

    for found, expected in zip(
        jax.grad(total)(arrays, name), jax.grad(total)(arrays, "xla"), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_large_scores_do_not_overflow():
    trie = build_trie([[1, 2], [1, 3]])
    query, key, value = draw(trie.size, 2, 1)
    found = attend(1e4 * query, key, value, jnp.asarray(trie.ancestors_TT()), None, "xla")
    tree = cut_tree(trie.parents_T, 2)
    blocks = attend(1e4 * query, key, value, jnp.asarray(trie.ancestors_TT()), tree, "blocks")
    np.testing.assert_allclose(blocks, found, rtol=1e-5)


def test_an_order_that_is_not_depth_first_is_refused():
    for parents in ([-1, 0, 0, 1], [1, -1], [-1, -1, 0]):
        with pytest.raises(ValueError, match="depth-first"):
            cut_tree(np.array(parents))
