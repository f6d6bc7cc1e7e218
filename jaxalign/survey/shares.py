"""Answer distributions as scores: how many respondents chose each option, and how far two differ.

Ordered options are compared by the Wasserstein-1 distance over the scale's width, as Santurkar et
al. 2023 (OpinionQA, arXiv 2303.17548) have it; options without an order by the
Jensen-Shannon distance, the square root of the divergence, with logarithms of base 2, as
`scipy.spatial.distance.jensenshannon(p, q, 2)` has it (Endres & Schindelin 2003, IEEE Transactions
on Information Theory 49(7); Durmus et al. 2023, GlobalOpinionQA, arXiv 2306.16388, compare by the
same distance). Both go from 0 to 1.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxalign.survey.instrument import Instrument

PERCENT = 100.0


class ShareScoring(NamedTuple):
    """The numbers that compare answer distributions, as arrays (a pytree).

    The C scores are the shares, in percent, of all options of the first item, then of the second,
    and so on.

    Attributes:
      options_C: place of each share among the Q × A options.
      place_QA: place of each option among the C shares; 0 where it does not exist.
      offered_QA: whether the option exists.
      steps_QKA: the distribution function of an ordered item at its k-th value is the sum over A
        of these times the shares; times the distance to the next value over the scale's width.
      nominal_Q: whether the options have no order.
      values_QA: what each option counts, as in `Scoring`.
    """

    options_C: Int[Array, " C"] | np.ndarray
    place_QA: Int[Array, "Q A"] | np.ndarray
    offered_QA: Bool[Array, "Q A"] | np.ndarray
    steps_QKA: Float[Array, "Q K A"] | np.ndarray
    nominal_Q: Bool[Array, " Q"] | np.ndarray
    values_QA: Float[Array, "Q A"] | np.ndarray


def make_share_scoring(instrument: Instrument) -> ShareScoring:
    """Lay out an instrument's scales as arrays."""
    counts = [len(item.options) for item in instrument.items]
    shape = len(counts), max(counts)
    offered_QA = np.arange(shape[1]) < np.array(counts)[:, None]
    values_QA = np.zeros(shape, np.float32)
    steps_QKA = np.zeros((shape[0], shape[1] - 1, shape[1]), np.float32)
    for row, item in enumerate(instrument.items):
        values_A = np.array(item.values)
        values_QA[row, : len(values_A)] = values_A
        if not item.nominal:
            ascending_A = np.sort(values_A)
            width = ascending_A[-1] - ascending_A[0]
            below_KA = values_A <= ascending_A[:-1, None]
            steps_KA = below_KA * (np.diff(ascending_A) / width)[:, None]
            steps_QKA[row, : len(steps_KA), : len(values_A)] = steps_KA
    place_QA = np.where(offered_QA, np.cumsum(offered_QA).reshape(shape) - 1, 0)
    return ShareScoring(
        options_C=np.flatnonzero(offered_QA).astype(np.int32),
        place_QA=place_QA.astype(np.int32),
        offered_QA=offered_QA,
        steps_QKA=steps_QKA,
        nominal_Q=np.array([item.nominal for item in instrument.items]),
        values_QA=values_QA,
    )


def shares_of(
    scoring: ShareScoring, answers_QA: Float[Array, "*batch Q A"]
) -> Float[Array, "*batch C"]:
    """Return the shares, in percent, of all options that exist."""
    flat = answers_QA.reshape(*answers_QA.shape[:-2], -1)
    return PERCENT * jnp.take(flat, jnp.asarray(scoring.options_C), axis=-1)


def item_distances(
    scoring: ShareScoring, scores_C: Float[Array, "*batch C"], target_C: Float[Array, " C"]
) -> Float[Array, "*batch Q"]:
    """Return the distance of each item's answers to the target's, in percent."""
    answers_QA, wanted_QA = _answers(scoring, scores_C), _answers(scoring, target_C)
    wanted_QA = jnp.broadcast_to(wanted_QA, answers_QA.shape)
    nominal_Q = jnp.broadcast_to(jnp.asarray(scoring.nominal_Q), answers_QA.shape[:-1])
    ordered_Q = wasserstein(answers_QA - wanted_QA, jnp.asarray(scoring.steps_QKA))
    return PERCENT * jnp.where(nominal_Q, jensen_shannon(answers_QA, wanted_QA), ordered_Q)


def wasserstein(
    difference_QA: Float[Array, "*batch Q A"], steps_QKA: Float[Array, "Q K A"]
) -> Float[Array, "*batch Q"]:
    """Wasserstein-1 distance over the scale's width: the area between distribution functions.

    Args:
      difference_QA: one distribution less the other.
      steps_QKA: as in `ShareScoring`.
    """
    areas_QK = jnp.einsum(
        "...qa,qka->...qk", difference_QA, steps_QKA, precision=jax.lax.Precision.HIGHEST
    )
    return jnp.sum(jnp.abs(areas_QK), axis=-1)


def jensen_shannon(
    one_A: Float[Array, "*batch A"], other_A: Float[Array, "*batch A"]
) -> Float[Array, "*batch"]:
    """Jensen-Shannon distance with logarithms of base 2; its gradient is 0 where both are equal.

    Where p and q are near, log(2p / (p + q)) is taken as log(1 + (p − q) / (p + q)), so that
    distributions that hardly differ keep their digits in float32.
    """
    both_A = jnp.where(one_A + other_A > 0, one_A + other_A, 1.0)
    apart_A = (one_A - other_A) / both_A

    def part(share_A: jax.Array, apart_A: jax.Array) -> jax.Array:
        # What is not chosen is kept harmless before the logarithm too: 0 × inf has no gradient. A
        # share below the smallest normal number counts as 0, or the quotient alone might be 0.
        there, near = share_A > jnp.finfo(jnp.float32).tiny, jnp.abs(apart_A) < 0.5
        far_A = jnp.log(jnp.where(there & ~near, 2 * share_A / both_A, 1.0))
        near_A = jnp.log1p(jnp.where(near, apart_A, 0.0))
        return share_A * jnp.where(near, near_A, far_A)

    parts_A = part(one_A, apart_A) + part(other_A, -apart_A)
    divergence = jnp.sum(parts_A, axis=-1) / (2 * math.log(2))
    apart = divergence > 0
    return jnp.where(apart, jnp.sqrt(jnp.where(apart, divergence, 1.0)), 0.0)


def _answers(
    scoring: ShareScoring, scores_C: Float[Array, "*batch C"]
) -> Float[Array, "*batch Q A"]:
    """Return shares of 1 by item and option, 0 where an option does not exist."""
    shares_QA = jnp.take(scores_C, jnp.asarray(scoring.place_QA), axis=-1) / PERCENT
    offered_QA = jnp.broadcast_to(jnp.asarray(scoring.offered_QA), shares_QA.shape)
    return jnp.where(offered_QA, shares_QA, 0.0)
