"""From answers to scores, and from scores to a distance: pure functions over arrays.

Two kinds of numbers describe an instrument: `Scoring` for linear formulas, ipsatised ones among
them, and `ShareScoring` for answer distributions. Which it is belongs to the structure of the
pytree, so it is known when a function is traced.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxalign.errors import UserError
from jaxalign.survey.instrument import DISTRIBUTION, IPSATISED, Instrument
from jaxalign.survey.shares import ShareScoring, item_distances, make_share_scoring, shares_of

CONSTANT_ANSWER, UNIFORM_ANSWERS = "constant answer", "uniform answers"


class Scoring(NamedTuple):
    """The numbers that turn answers into scores, as arrays (a pytree).

    Attributes:
      weights_CQ: coefficient of each item's mean in each dimension.
      constant_C: the constant C of each formula, which anchors scores to a reference sample.
      values_QA: what each option counts; 0 where an item has fewer than A options.
    """

    weights_CQ: Float[Array, "C Q"] | np.ndarray
    constant_C: Float[Array, " C"] | np.ndarray
    values_QA: Float[Array, "Q A"] | np.ndarray


def make_scoring(
    instrument: Instrument,
    constant: float | tuple[float, ...] | None = None,
    coefficients: str = "",
) -> Scoring | ShareScoring:
    """Lay out how an instrument is scored as arrays.

    Ipsatised scores take a respondent's mean over all items off each answer before anything else
    (Schwartz 1992: the mean rating, MRAT). Of a group that is the mean over its items' means, so
    with W the coefficients of what is left, those of the means themselves are W (I − 11ᵀ/Q).

    Args:
      instrument: the survey.
      constant: C, one number for all dimensions or C numbers; None or empty for the instrument's.
      coefficients: name of a coefficient set; empty for the instrument's first.

    Raises:
      UserError: no such set, or the wrong number of constants.
    """
    own = constant is None or constant == ""
    if instrument.scoring == DISTRIBUTION:
        if not own or coefficients:
            given = f"coefficients={coefficients!r}" if own else f"constant={constant!r}"
            raise UserError(
                f"survey.{given}: {instrument.name} compares answer distributions, which have no "
                "formulas; leave it empty"
            )
        return make_share_scoring(instrument)
    name = coefficients or next(iter(instrument.coefficients))
    if name not in instrument.coefficients:
        known = ", ".join(instrument.coefficients)
        raise UserError(f"survey.coefficients={name!r}: {instrument.name} has {known}")
    constants = np.atleast_1d(np.asarray(instrument.constant if own else constant, np.float32))
    count = len(instrument.dimensions)
    if constants.shape not in ((1,), (count,)):
        raise UserError(
            f"survey.constant: {constants.size} numbers given; give one, or one for each of the "
            f"{count} dimensions {', '.join(instrument.dimensions)}"
        )
    column = {item.id: index for index, item in enumerate(instrument.items)}
    weights_CQ = np.zeros((count, len(column)))
    for row, key in enumerate(instrument.dimensions):
        for id_, coefficient in instrument.coefficients[name][key].items():
            weights_CQ[row, column[id_]] = coefficient
    if instrument.scoring == IPSATISED:
        weights_CQ -= weights_CQ.mean(axis=1, keepdims=True)
    options = max(len(item.values) for item in instrument.items)
    values_QA = np.zeros((len(column), options), np.float32)
    for index, item in enumerate(instrument.items):
        values_QA[index, : len(item.values)] = item.values
    constant_C = np.broadcast_to(constants, (count,)).copy()
    return Scoring(weights_CQ.astype(np.float32), constant_C, values_QA)


def score_answers(
    scoring: Scoring | ShareScoring, answers_QA: Float[Array, "*batch Q A"]
) -> Float[Array, "*batch C"]:
    """Return the scores of a group from its answers, by whatever the instrument says.

    Args:
      scoring: of the survey.
      answers_QA: share of respondents who chose each option; sums to 1 over A.
    """
    if isinstance(scoring, ShareScoring):
        return shares_of(scoring, answers_QA)
    return scores_from_means(scoring, item_means(scoring, answers_QA))


def distance_to_target(
    scoring: Scoring | ShareScoring,
    scores_C: Float[Array, "*batch C"],
    target_GC: Float[Array, "G C"] | np.ndarray,
    norm: str,
) -> Float[Array, " G *batch"]:
    """Return the losses of scores against each target.

    Linear scores by `distance`. Distributions by the mean over items of `item_distances`, in
    percent; with `l2` by the root of the mean of their squares.
    """

    def one(target_C: jax.Array) -> jax.Array:
        if not isinstance(scoring, ShareScoring):
            return distance(scores_C, target_C, norm)
        each_Q = item_distances(scoring, scores_C, target_C)
        if norm == "l1":
            return jnp.mean(each_Q, axis=-1)
        return jnp.sqrt(jnp.mean(each_Q**2, axis=-1))

    return jax.vmap(one)(jnp.asarray(target_GC))


def null_baseline(
    instrument: Instrument, scoring: Scoring | ShareScoring
) -> tuple[str, np.ndarray]:
    """Return the null baseline: scores of answers that do not depend on what is asked.

    Returns:
      `constant answer` and its scores, float32 [C], if it does not matter which one answer is given
      to everything; else `uniform answers`, each option as likely as any other of its item.
    """
    counts_Q1 = np.array([[len(item.options)] for item in instrument.items])
    offered_QA = np.arange(counts_Q1.max()) < counts_Q1
    if isinstance(scoring, Scoring) and offered_QA.all():
        weights_CQ = np.asarray(scoring.weights_CQ, np.float64)
        values_QA = np.asarray(scoring.values_QA, np.float64)
        moved_CA = weights_CQ @ (values_QA - values_QA[:, :1])
        zero_C = weights_CQ @ values_QA[:, 0]
        size = np.abs(weights_CQ).sum() * np.abs(values_QA).max()
        if max(np.abs(moved_CA).max(), np.abs(zero_C).max()) <= 1e-6 * size:
            return CONSTANT_ANSWER, np.asarray(scoring.constant_C)
    uniform_QA = offered_QA / counts_Q1
    return UNIFORM_ANSWERS, np.asarray(score_answers(scoring, jnp.asarray(uniform_QA, jnp.float32)))


def item_means(
    scoring: Scoring, answers_QA: Float[Array, "*batch Q A"]
) -> Float[Array, "*batch Q"]:
    """Return the mean answer to each item, in the units of the scale.

    Args:
      scoring: of the survey.
      answers_QA: share of respondents who chose each option; sums to 1 over A.
    """
    return jnp.einsum(
        "...qa,qa->...q",
        answers_QA,
        jnp.asarray(scoring.values_QA),
        precision=jax.lax.Precision.HIGHEST,
    )


def scores_from_means(
    scoring: Scoring, means_Q: Float[Array, "*batch Q"]
) -> Float[Array, "*batch C"]:
    """Return the scores of a group from its mean answers: weights · means + C (VSM 2013 manual).

    Never clipped: published scores leave 0…100 too.
    """
    products = jnp.einsum(
        "...q,cq->...c",
        means_Q,
        jnp.asarray(scoring.weights_CQ),
        precision=jax.lax.Precision.HIGHEST,
    )
    return products + jnp.broadcast_to(jnp.asarray(scoring.constant_C), products.shape)


def distance(
    scores_C: Float[Array, "*batch C"], target_C: Float[Array, " C"], norm: str
) -> Float[Array, "*batch"]:
    """Return the loss against a target: `l1` sums absolute differences, `l2` is Euclidean."""
    difference = scores_C - jnp.broadcast_to(target_C, scores_C.shape)
    if norm == "l1":
        return jnp.sum(jnp.abs(difference), axis=-1)
    return jnp.sqrt(jnp.sum(difference**2, axis=-1))
