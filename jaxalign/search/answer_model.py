"""A model of how answers follow from candidates, fitted to those that were evaluated.

Around a centre every answer is a Gaussian process in the move x from it, with covariance k + γ² k²
for k = xᵀ (R ⊗ I) x': a linear part and a quadratic one. R mixes the rows of a soft prompt and is
learned; its columns count alike. The mean of the linear part is the Jacobian.

It survives float32 for three reasons. Moves and changes are differences to the centre, of nearby
numbers and therefore exact. The covariance is scaled to a unit diagonal before it is factored, so
that large first moves and tiny last ones meet as correlations. And `_NUGGET` of each variance
counts as noise, which is far below what the model is wrong by and far above rounding.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct
from jax.scipy.linalg import cho_solve, solve_triangular
from jaxtyping import Array, Bool, Float

_NOISE = 3e-5  # standard deviation of an answer, on its scale
_WRONG = 0.03  # of the quadratic part, what the model cannot explain
_NUGGET = 1e-5
_MIXED = 0.02  # of R, kept alike for all rows
_STEPS = 3  # of learning R, a generation
_FACTOR = 1.5  # between the curvatures that are tried
_UNRELATED = 0.05  # of the variance of an answer, told by no other


@struct.dataclass
class Seen:
    """What was evaluated, seen from the centre: n moves of L rows, and M changed answers each.

    Attributes:
      moves_nLD: 0 where not held.
      changes_nM: 0 where not held.
      held_n: whether the row holds a candidate.
    """

    moves_nLD: Float[Array, "n L D"]
    changes_nM: Float[Array, "n M"]
    held_n: Bool[Array, " n"]


@struct.dataclass
class Beliefs:
    """What is learned between generations.

    Attributes:
      rows_LL: R, in squared answers per squared coordinate.
      curvature: γ.
    """

    rows_LL: Float[Array, "L L"]
    curvature: Float[Array, ""]


def first_beliefs(seen: Seen, curvature: float) -> Beliefs:
    """Return beliefs that explain the size of the changes, with all rows alike."""
    length = seen.moves_nLD.shape[1]
    moved = jnp.sum(seen.moves_nLD**2) * seen.changes_nM.shape[1]
    rate = jnp.sum(seen.changes_nM**2) / jnp.where(moved > 0, moved, 1.0)
    rate = jnp.where(rate > 0, rate, 1.0)
    return Beliefs(rate * jnp.eye(length, dtype=jnp.float32), jnp.float32(curvature))


def jacobian(seen: Seen, beliefs: Beliefs) -> Float[Array, "M L D"]:
    """Return the expected Jacobian of the answers at the centre."""
    linear_nn, mixed_nLD = _gram(seen, beliefs.rows_LL)
    factor = _factor(linear_nn, beliefs.curvature, seen.held_n)
    return jnp.einsum("nm,nld->mld", _solve(factor, seen.changes_nM), mixed_nLD)


def learn(seen: Seen, beliefs: Beliefs) -> Beliefs:
    """Return the beliefs after some steps towards the largest marginal likelihood.

    A step of R solves R Q R = S for the second moments S of the expected Jacobian and Q of the
    moves: the fixed-point iteration for variance components (Zhou et al., 2019, arXiv 1509.07426).
    """
    answers, width = seen.changes_nM.shape[1], seen.moves_nLD.shape[2]
    length = seen.moves_nLD.shape[1]

    def step(_: int, beliefs: Beliefs) -> Beliefs:
        linear_nn, mixed_nLD = _gram(seen, beliefs.rows_LL)
        factor = _factor(linear_nn, beliefs.curvature, seen.held_n)
        weights_nM = _whitened(_solve(factor, seen.changes_nM), seen.changes_nM)
        jacobian_MLD = jnp.einsum("nm,nld->mld", weights_nM, mixed_nLD)
        found_LL = jnp.einsum("mld,mkd->lk", jacobian_MLD, jacobian_MLD) / (answers * width)
        lower_nn, scale_n = factor
        flat_nN = seen.moves_nLD.reshape(len(scale_n), -1) * scale_n[:, None]
        half_nLD = solve_triangular(lower_nn, flat_nN, lower=True).reshape(seen.moves_nLD.shape)
        moved_LL = jnp.einsum("nld,nkd->lk", half_nLD, half_nLD) / width
        rows_LL = _between(moved_LL, found_LL)
        usable = jnp.all(jnp.isfinite(rows_LL)) & (jnp.trace(rows_LL) > 0)
        alike_LL = jnp.trace(rows_LL) / length * jnp.eye(length)
        rows_LL = (1.0 - _MIXED) * rows_LL + _MIXED * alike_LL
        return dataclasses.replace(beliefs, rows_LL=jnp.where(usable, rows_LL, beliefs.rows_LL))

    beliefs = jax.lax.fori_loop(0, _STEPS, step, beliefs)
    linear_nn, _ = _gram(seen, beliefs.rows_LL)

    def likelihood(curvature: jax.Array) -> jax.Array:
        factor = _factor(linear_nn, curvature, seen.held_n)
        solved_nM = _solve(factor, seen.changes_nM)
        spread_MM = _spread(solved_nM, seen.changes_nM)
        lower_nn, scale_n = factor
        log_det = jnp.sum(jnp.log(jnp.diag(lower_nn)) - jnp.log(scale_n))
        explained_MM = jnp.linalg.solve(spread_MM, solved_nM.T @ seen.changes_nM)
        return -answers * log_det - 0.5 * jnp.trace(explained_MM)

    tried_3 = beliefs.curvature * jnp.array([1.0, 1.0 / _FACTOR, _FACTOR])
    likelihood_3 = jax.lax.map(likelihood, tried_3)
    best = jnp.argmax(jnp.where(jnp.isfinite(likelihood_3), likelihood_3, -jnp.inf))
    return dataclasses.replace(beliefs, curvature=tried_3[best])


def _gram(seen: Seen, rows_LL: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return k of all pairs [n, n], and the moves mixed by R [n, L, D]."""
    mixed_nLD = jnp.einsum("lk,nkd->nld", rows_LL, seen.moves_nLD)
    return jnp.einsum("nld,pld->np", mixed_nLD, seen.moves_nLD), mixed_nLD


def _factor(
    linear_nn: jax.Array, curvature: jax.Array, held_n: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return the Cholesky factor of the covariance scaled to a unit diagonal, and the scale."""
    size_n = jnp.diag(linear_nn)
    noise_n = _NOISE**2 + (_WRONG * curvature * size_n) ** 2 + _NUGGET * size_n
    covariance_nn = linear_nn + (curvature * linear_nn) ** 2 + jnp.diag(noise_n)
    scale_n = jnp.where(held_n, jax.lax.rsqrt(jnp.diag(covariance_nn)), 1.0)
    scaled_nn = covariance_nn * scale_n[:, None] * scale_n[None, :]
    scaled_nn = jnp.where(jnp.eye(len(scale_n), dtype=bool), 1.0 + _NUGGET, scaled_nn)
    return jnp.linalg.cholesky(scaled_nn), scale_n


def _solve(factor: tuple[jax.Array, jax.Array], right_nM: jax.Array) -> jax.Array:
    lower_nn, scale_n = factor
    return scale_n[:, None] * cho_solve((lower_nn, True), scale_n[:, None] * right_nM)


def _spread(solved_nM: jax.Array, changes_nM: jax.Array) -> jax.Array:
    """Return how answers change together [M, M], with a mean diagonal of 1."""
    spread_MM = changes_nM.T @ solved_nM
    spread_MM = (spread_MM + spread_MM.T) / 2
    mean = jnp.trace(spread_MM) / len(spread_MM)
    spread_MM = spread_MM / jnp.where(mean > 0, mean, 1.0)
    return spread_MM + _UNRELATED * jnp.eye(len(spread_MM))


def _whitened(solved_nM: jax.Array, changes_nM: jax.Array) -> jax.Array:
    """Return what was solved for answers that change independently of one another."""
    lower_MM = jnp.linalg.cholesky(_spread(solved_nM, changes_nM))
    return solve_triangular(lower_MM, solved_nM.T, lower=True).T


def _between(moved_LL: jax.Array, found_LL: jax.Array) -> jax.Array:
    """Return the positive R with R Q R = S: Q^-½ (Q^½ S Q^½)^½ Q^-½."""
    root_LL, inverse_LL = _roots(moved_LL)
    middle_LL, _ = _roots(root_LL @ found_LL @ root_LL)
    return inverse_LL @ middle_LL @ inverse_LL


def _roots(matrix_LL: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the square root of a symmetric matrix, and its inverse."""
    value_L, vector_LL = jnp.linalg.eigh((matrix_LL + matrix_LL.T) / 2)
    value_L = jnp.maximum(value_L, 1e-6 * jnp.max(value_L))
    root_L = jnp.sqrt(jnp.where(value_L > 0, value_L, 1.0))
    return (vector_LL * root_L[None]) @ vector_LL.T, (vector_LL / root_L[None]) @ vector_LL.T
