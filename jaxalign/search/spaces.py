"""Search spaces: maps from the vector that a strategy sees to the soft prompt that the model reads.

Any strategy works in any space; only what a coordinate means changes.

* `full`: the vector is the prompt, `[L, D]`.
* `subspace`: prompt = origin + Σ_m z_m basis_m with a random basis; the map A z + p₀ of Black-Box
  Tuning (Sun et al., ICML 2022, arXiv 2201.03514).
* `first_layer`: prompt = origin + rows of coordinates along the K directions of an embedding that
  the model's first layer responds to most, as strongly as it does.
* `texts`: the same sum over the embeddings of texts: the search mixes meanings.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from jaxalign.errors import UserError
from jaxalign.search.initial import draw_pairs, embedding_std, vocabulary_bounds

# A row that is too long becomes this much shorter than allowed. Rounding can then not bring it over
# the limit, so limiting twice equals limiting once.
_MARGIN = 2.0**-16
_NEAR = 0.1  # of the embeddings' standard deviation, in the first layer's space


@struct.dataclass
class Space:
    """A pytree, so that its arrays are arguments of a jitted step and never captured.

    The basis takes M × L × D × 4 bytes: 262 MB for M = 500, L = 32 and D = 4096.

    Attributes:
      kind: `full`, `subspace`, `first_layer` or `texts`.
      shape: of a search vector: (L, D) in the full space, (L, K) in the first layer's, else (M,).
      origin_LD: of a linear space; None in the full one.
      basis_MLD: of a subspace or of texts; directions_DK: of the first layer; else None.
      low_D, high_D: range of each coordinate of a prompt, or None.
      max_norm: largest Euclidean norm of a prompt's row, or None.
    """

    kind: str = struct.field(pytree_node=False)
    shape: tuple[int, ...] = struct.field(pytree_node=False)
    origin_LD: Float[Array, "L D"] | None = None
    basis_MLD: Float[Array, "M L D"] | None = None
    directions_DK: Float[Array, "D K"] | None = None
    low_D: Float[Array, " D"] | None = None
    high_D: Float[Array, " D"] | None = None
    max_norm: Float[Array, ""] | None = None

    @property
    def confines(self) -> bool:
        """Return whether `confine` may change a vector."""
        limited = self.low_D is not None or self.max_norm is not None
        return self.kind == "full" and limited

    def prompts(self, vectors: jax.Array) -> jax.Array:
        """Return the soft prompts [..., L, D] of search vectors [..., *shape], within limits.

        Linear spaces multiply in full float32: accelerators would otherwise round to fewer bits.

        Raises:
          ValueError: the vectors are not of this space's shape.
        """
        self._check(vectors)
        if self.kind == "full":
            return self._limited(vectors)
        basis, terms = self.basis_MLD, "...m,mld->...ld"
        if self.kind == "first_layer":
            basis, terms = self.directions_DK, "...lk,dk->...ld"
        moves = jnp.einsum(terms, vectors, basis, precision=jax.lax.Precision.HIGHEST)
        return self._limited(jnp.broadcast_to(self.origin_LD, moves.shape) + moves)

    def confine(self, vectors: jax.Array) -> jax.Array:
        """Return the vectors that a strategy is told it asked for.

        In the full space a vector within the limits stands for exactly one prompt, so the limits
        are applied to it. Elsewhere no vector need lie behind a limited prompt: it stays as it is.

        Raises:
          ValueError: the vectors are not of this space's shape.
        """
        self._check(vectors)
        return self._limited(vectors) if self.confines else vectors

    def _check(self, vectors: jax.Array) -> None:
        if vectors.shape[vectors.ndim - len(self.shape) :] != self.shape:
            raise ValueError(f"{self.kind} space of {self.shape}: got vectors of {vectors.shape}")

    def _limited(self, prompts: jax.Array) -> jax.Array:
        """Clip each coordinate, then shorten rows: within a range that holds zero they stay."""
        if self.low_D is not None:
            prompts = jnp.clip(
                prompts,
                jnp.broadcast_to(self.low_D, prompts.shape),
                jnp.broadcast_to(self.high_D, prompts.shape),
            )
        if self.max_norm is not None:
            norms = jnp.linalg.norm(prompts, axis=-1, keepdims=True)
            too_long = norms > self.max_norm
            target = self.max_norm * (1.0 - _MARGIN)
            prompts = jnp.where(
                too_long, prompts * (target / jnp.where(too_long, norms, 1)), prompts
            )
        return prompts


def full_space(length: int, width: int) -> Space:
    """Return the space of every coordinate of the prompt."""
    return Space("full", (length, width))


def random_subspace(
    key: jax.Array, table_VD: jax.Array, origin_LD: jax.Array, dimension: int
) -> Space:
    """Return the space of M random directions through a prompt.

    The basis is normal with standard deviation std(embeddings) / (√M σ), for a first step length σ
    of 1: z ~ N(0, I) moves each coordinate of the prompt by one standard deviation of the
    embeddings, whatever M is. Black-Box Tuning drew its matrix uniformly; this scale is that of its
    successor, BBTv2 (Sun et al., EMNLP 2022, arXiv 2205.11200).

    Args:
      key: consumed.
      table_VD: the embedding table.
      origin_LD: the prompt of z = 0.
      dimension: M, from 1 to L × D; Black-Box Tuning takes 500.

    Raises:
      UserError: the dimension is out of range.
    """
    length, width = origin_LD.shape
    if not 1 <= dimension <= length * width:
        raise UserError(
            f"search.space=subspace: its dimension must be from 1 to {length * width} "
            f"(prompt.length times the model's width), not {dimension}"
        )
    std = jax.jit(embedding_std)(table_VD) / jnp.sqrt(jnp.float32(dimension))
    basis_MLD = std * jax.random.normal(key, (dimension, length, width), jnp.float32)
    return Space("subspace", (dimension,), origin_LD.astype(jnp.float32), basis_MLD)


def first_layer_space(
    gram_DD: jax.Array, table_VD: jax.Array, origin_LD: jax.Array, dimension: int
) -> Space:
    """Coordinates along the directions that the first layer responds to most.

    The directions are the Gram matrix's first K eigenvectors, each as long as the root of its
    eigenvalue, so that N(0, I) moves a row along the Gram matrix. They are scaled to move it by the
    standard deviation of the embeddings in each coordinate, on average.

    Args:
      gram_DD: of `first_layer_gram`.
      table_VD: the embedding table.
      origin_LD: the prompt of zeros.
      dimension: K for each row; no more than D are used.
    """
    length, width = origin_LD.shape
    count = min(dimension, width)
    value_D, vectors_DD = jnp.linalg.eigh(gram_DD)
    root_K = jnp.sqrt(jnp.maximum(value_D[::-1][:count], 0.0))
    directions_DK = vectors_DD[:, ::-1][:, :count] * root_K[None]
    scale = jax.jit(embedding_std)(table_VD) * jnp.sqrt(width / jnp.sum(root_K**2))
    return Space(
        "first_layer",
        (length, count),
        origin_LD.astype(jnp.float32),
        directions_DK=scale * directions_DK,
    )


def text_space(texts_MLD: jax.Array) -> Space:
    """Return the space of mixtures of M texts: prompt = mean + Σ_m z_m (text_m - mean).

    A coordinate is the weight of a text. The unit vector of text m gives exactly its prompt, and a
    step of 1 goes the whole way from the mean to it; the M unit vectors have a standard deviation
    of about 1/√M a coordinate. Weights need neither be positive nor add to 1. Adding the same
    number to all of them changes nothing, for the directions add to zero.

    Raises:
      UserError: there are fewer than two texts.
    """
    if texts_MLD.shape[0] < 2:
        raise UserError(
            f"search.space=texts: there must be at least 2 texts to mix, not {texts_MLD.shape[0]}"
        )
    texts_MLD = texts_MLD.astype(jnp.float32)
    mean_LD = jnp.mean(texts_MLD, axis=0)
    return Space("texts", (texts_MLD.shape[0],), mean_LD, texts_MLD - mean_LD[None])


def with_limits(space: Space, bounds: str, max_norm_ratio: float, table_VD: jax.Array) -> Space:
    """Return the same space with limits on its prompts.

    Args:
      space: of any kind.
      bounds: `vocabulary` keeps each coordinate within its range over the embedding table, which
        beside a limit on the norm is widened to hold zero; `none` does not.
      max_norm_ratio: largest norm of a row, in mean norms of the embedding table's; 0 for none.
      table_VD: the embedding table.
    """
    if bounds == "vocabulary":
        low_D, high_D = jax.jit(vocabulary_bounds)(table_VD)
        if max_norm_ratio:  # or a row could leave the range while it is shortened
            low_D, high_D = jnp.minimum(low_D, 0.0), jnp.maximum(high_D, 0.0)
        space = dataclasses.replace(space, low_D=low_D, high_D=high_D)
    if max_norm_ratio:
        space = dataclasses.replace(space, max_norm=max_norm_ratio * jax.jit(mean_norm)(table_VD))
    return space


def first_vectors(space: Space, key: jax.Array, prompts_PLD: jax.Array) -> jax.Array:
    """Return the search vectors `[P, *shape]` of generation 0, float32.

    In the full space they are the given prompts. In a subspace the first is zero, so that it gives
    the origin, and the others are N(0, I); so they are in the first layer's, a tenth as far, since
    that moves the answers as much. Among texts the first M are the texts themselves, and
    the others lie between two of them: a mixture of many would be close to the mean.

    Args:
      space: to search.
      key: consumed.
      prompts_PLD: the initial population; outside the full space only P is taken from it.
    """
    population = prompts_PLD.shape[0]
    if space.kind == "full":
        return prompts_PLD.astype(jnp.float32)
    if space.kind in ("subspace", "first_layer"):
        far = 1.0 if space.kind == "subspace" else _NEAR
        others = far * jax.random.normal(key, (population - 1, *space.shape), jnp.float32)
        return jnp.concatenate([jnp.zeros((1, *space.shape), jnp.float32), others])
    (dimension,) = space.shape
    unit_MM = jnp.eye(dimension, dtype=jnp.float32)
    pair_key, weight_key = jax.random.split(key)
    rest = max(population - dimension, 0)
    first_R, second_R = draw_pairs(pair_key, dimension, rest)
    weight_R1 = jax.random.uniform(weight_key, (rest, 1))
    between_RM = weight_R1 * unit_MM[first_R] + (1.0 - weight_R1) * unit_MM[second_R]
    return jnp.concatenate([unit_MM[:population], between_RM])


def mean_norm(table_VD: jax.Array) -> jax.Array:
    """Return the mean Euclidean norm of the rows of the embedding table."""
    return jnp.mean(jnp.linalg.norm(table_VD.astype(jnp.float32), axis=-1))
