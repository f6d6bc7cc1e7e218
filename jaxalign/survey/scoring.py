"""From answers to scores: pure functions over arrays, for any survey with linear formulas."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxalign.errors import UserError
from jaxalign.survey.instrument import Instrument


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
    instrument: Instrument, constant: float | tuple[float, ...], coefficients: str = ""
) -> Scoring:
    """Lays out an instrument's formulas as arrays.

    Args:
      instrument: the survey.
      constant: C, one number for all dimensions or C numbers.
      coefficients: name of a coefficient set; empty for the instrument's first.

    Raises:
      UserError: no such set, or the wrong number of constants.
    """
    name = coefficients or next(iter(instrument.coefficients))
    if name not in instrument.coefficients:
        known = ", ".join(instrument.coefficients)
        raise UserError(f"survey.coefficients={name!r}: {instrument.name} has {known}")
    constants = np.atleast_1d(np.asarray(constant, np.float32))
    count = len(instrument.dimensions)
    if constants.shape not in ((1,), (count,)):
        raise UserError(
            f"survey.constant: {constants.size} numbers given; give one, or one for each of the "
            f"{count} dimensions {', '.join(instrument.dimensions)}"
        )
    column = {item.id: index for index, item in enumerate(instrument.items)}
    weights_CQ = np.zeros((count, len(column)), np.float32)
    for row, key in enumerate(instrument.dimensions):
        for id_, coefficient in instrument.coefficients[name][key].items():
            weights_CQ[row, column[id_]] = coefficient
    options = max(len(item.values) for item in instrument.items)
    values_QA = np.zeros((len(column), options), np.float32)
    for index, item in enumerate(instrument.items):
        values_QA[index, : len(item.values)] = item.values
    return Scoring(weights_CQ, np.broadcast_to(constants, (count,)).copy(), values_QA)


def item_means(
    scoring: Scoring, answers_QA: Float[Array, "*batch Q A"]
) -> Float[Array, "*batch Q"]:
    """Mean answer to each item, in the units of the scale.

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
    """Scores of a group from its mean answers: weights · means + C (VSM 2013 manual).

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
    """Loss of scores against a target: `l1` sums absolute differences, `l2` is Euclidean."""
    difference = scores_C - jnp.broadcast_to(target_C, scores_C.shape)
    if norm == "l1":
        return jnp.sum(jnp.abs(difference), axis=-1)
    return jnp.sqrt(jnp.sum(difference**2, axis=-1))
