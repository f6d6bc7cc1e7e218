"""What candidates answered, for strategies that look at more than the loss."""

import jax
from flax import struct
from jaxtyping import Array, Float


@struct.dataclass
class ExpectedAnswers:
    """Expected answers and what is wanted: the scores of a format are `weights_CQ @ means_Q`.

    Attributes:
      means_PFQ: mean answer of P candidates to each of Q items in each of F formats.
      weights_CQ: of each item in each score.
      wanted_C: scores to reach, without the constants of the formulas.
    """

    means_PFQ: Float[Array, "P F Q"]
    weights_CQ: Float[Array, "C Q"] | jax.Array
    wanted_C: Float[Array, " C"] | jax.Array
