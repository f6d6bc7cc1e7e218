"""A tree of rows cut into blocks, so that attention need not look at every pair of rows."""

import dataclasses

import jax
import numpy as np
from flax import struct

BLOCK = 32  # rows; 16 to 32 was fastest where it was measured: docs/measurements.md


@struct.dataclass
class Tree:
    """A tree in depth-first order, in B blocks of R rows each; the last block is filled up.

    Whatever stands above a block's rows, and not among them, stands above the first of them: the
    subtree of such a node is an unbroken range that begins before the block and reaches into it.
    So R rows look at one path of at most M nodes and at each other.

    Attributes:
      path_BM: ancestors of each block's first row, root first, filled up with 0.
      path_mask_BRM: whether the row may attend to the path's node.
      own_mask_BRR: whether the row may attend to the other row of its block; none of the rows that
        fill up is attended to.
      size: T, rows of the tree.
    """

    path_BM: jax.Array | np.ndarray
    path_mask_BRM: jax.Array | np.ndarray
    own_mask_BRR: jax.Array | np.ndarray
    size: int = struct.field(pytree_node=False)

    def pairs(self, length: int) -> int:
        """Return the score pairs of one head, with `length` rows in a chain above the tree."""
        blocks, rows, path = self.path_mask_BRM.shape
        return length**2 + blocks * rows * (length + path + rows)


def cut_tree(parents_T: np.ndarray, rows: int = BLOCK) -> Tree:
    """Cut a tree into blocks. Time and memory are linear in T × (depth + rows).

    Args:
      parents_T: index of each row's parent, -1 for none, in depth-first order.
      rows: of a block.

    Raises:
      ValueError: the order is not depth-first.
    """
    parents = np.asarray(parents_T).tolist()
    paths: list[list[int]] = []
    for row, parent in enumerate(parents):
        if parent >= row or (parent >= 0 and row and parent not in (row - 1, *paths[row - 1])):
            raise ValueError(f"row {row} with parent {parent} is not in depth-first order")
        paths.append([*paths[parent], parent] if parent >= 0 else [])
    size = len(parents)
    rows = min(rows, size)
    blocks = -(-size // rows)
    path_BM = np.zeros((blocks, max(map(len, paths[::rows]))), np.int32)
    path_mask = np.zeros((blocks, rows, path_BM.shape[1]), bool)
    own_mask = np.zeros((blocks, rows, rows), bool)
    for row, path in enumerate(paths):
        block, at = divmod(row, rows)
        first = block * rows
        above = paths[first]
        path_BM[block, : len(above)] = above
        shared = np.isin(above, path)
        path_mask[block, at, : len(above)] = shared
        own_mask[block, at, [at, *(node - first for node in path if node >= first)]] = True
    return Tree(path_BM, path_mask, own_mask, size)


def widen_tree(tree: Tree, path: int) -> Tree:
    """Return the same with room for `path` nodes above each block."""
    more = path - tree.path_BM.shape[1]
    return dataclasses.replace(
        tree,
        path_BM=np.pad(tree.path_BM, ((0, 0), (0, more))),
        path_mask_BRM=np.pad(tree.path_mask_BRM, ((0, 0), (0, 0), (0, more))),
    )
