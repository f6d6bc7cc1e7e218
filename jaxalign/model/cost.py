"""How many operations the forward pass needs: counted, to be compared with what is compiled."""

from jaxalign.model.architecture import DecoderConfig
from jaxalign.model.tree import Tree


def candidate_flop(config: DecoderConfig, length: int, tree: Tree, answers: int) -> int:
    """Multiplications and additions of the matrix products for one soft prompt.

    All but the last of n layers pass over S = L + T rows; the first has the tree's projections from
    `shared_flop`; the last computes keys and values for all and the rest at the answers. So for
    attention by blocks of R rows on C = L + M + R columns, with (query, key, value) widths q, k, k:

        S [(n - 1) (4 D q + 4 D k + 6 D F) + 4 D k] - T (2 D q + 4 D k)
          + (n - 1) 4 q pairs + answers (4 D q + 6 D F + 4 q S)

    Args:
      config: the architecture.
      length: L, rows of the soft prompt.
      tree: of the T tokens below it.
      answers: rows at which answers are read.
    """
    query, key_value, feed_forward = _widths(config)
    rows, whole = length + tree.size, config.layers - 1
    flop = rows * (whole * (2 * query + key_value + feed_forward) + key_value)
    if whole:
        flop -= shared_flop(config, tree)
    flop += whole * _pair(config) * tree.pairs(length)
    return flop + answers * (2 * query + feed_forward + _pair(config) * rows)


def shared_flop(config: DecoderConfig, tree: Tree) -> int:
    """Return the cost shared by a population: the first layer's projections of the tree."""
    query, key_value, _ = _widths(config)
    return tree.size * (query + key_value) if config.layers > 1 else 0


def _widths(config: DecoderConfig) -> tuple[int, int, int]:
    """Operations for one row: queries (or the output), keys and values, feed-forward."""
    query = 2 * config.width * config.heads * config.head_dim
    key_value = 4 * config.width * config.kv_heads * config.head_dim
    return query, key_value, 6 * config.width * config.mlp_width


def _pair(config: DecoderConfig) -> int:
    """Operations of one score and its share of the values, over all heads."""
    return 4 * config.heads * config.head_dim
