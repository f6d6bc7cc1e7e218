"""How much of a model's next-token probability lies on the options at all."""

import functools
from collections import Counter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from jaxalign.devices.mesh import copy_everywhere, everywhere
from jaxalign.fitness.readout import answer_states, option_logits
from jaxalign.model import AUTO, read_vocabulary
from jaxalign.objective import Layout
from jaxalign.problem import Problem

_LITTLE = 0.5  # of the probability
_SHOWN = 4  # tokens


class OptionMass(NamedTuple):
    """What a model would say where an answer begins.

    Attributes:
      mass_QA: probability of each option among all that could follow; zero where there is no
        such option. The rest, `1 - sum over A`, is the off-scale mass: what the option
        probabilities, which sum to one, do not show.
      likeliest_Q: the likeliest token of all.
    """

    mass_QA: Float[Array, "Q A"]
    likeliest_Q: jax.Array


def option_mass(
    graphdef: Any,
    weights: Any,
    layout: Layout,
    prompt_LD: Float[Array, "L D"],
    attention: str = AUTO,
) -> OptionMass:
    """Read the whole vocabulary at the answer of each question.

    Args:
      graphdef: the model's structure.
      weights: the model's arrays.
      layout: what is asked.
      prompt_LD: soft prompt; L may be 0.
      attention: implementation, by name.
    """
    model = nnx.merge(graphdef, weights)
    hidden_RD = answer_states(model, layout, prompt_LD, attention)
    questions = layout.answer_ids_QA.shape[0]
    vocabulary = read_vocabulary(model.head_rows(), hidden_RD[:questions])
    logits_QA = option_logits(model, layout, hidden_RD)
    mass_QA = jnp.exp(logits_QA - vocabulary.log_total_R[:, None])
    return OptionMass(mass_QA, vocabulary.likeliest_R)


def naive_mass(problem: Problem, attention: str) -> OptionMass:
    """Return what the model would say without a soft prompt, on the host."""
    mass = jax.jit(
        functools.partial(option_mass, problem.graphdef, attention=attention),
        out_shardings=everywhere(problem.mesh),
    )
    no_rows = copy_everywhere(problem.mesh, jnp.zeros((0, problem.model_config.width)))
    return jax.device_get(mass(problem.weights, problem.task.layout, no_rows))


def describe_mass(problem: Problem, mass: OptionMass) -> tuple[str, bool]:
    """Say in words how much of the probability the options have, and whether that is little.

    Little is less than half, or another token being the likeliest in most questions: the model
    would then not answer as it is asked to, and its option probabilities say less about it.
    """
    share_Q = mass.mass_QA.sum(axis=1)
    layout = jax.device_get(problem.task.layout)
    is_option_Q = (layout.answer_ids_QA == mass.likeliest_Q[:, None]).any(axis=1)
    words = f"{share_Q.mean():.0%} of the probability ({share_Q.min():.0%} to {share_Q.max():.0%})"
    others = Counter(mass.likeliest_Q[~is_option_Q].tolist()).most_common(_SHOWN)
    if others:
        tokens = ", ".join(f"{problem.tokenizer.decode([id_])!r} {n}" for id_, n in others)
        words += (
            f"; in {(~is_option_Q).sum()} of {len(share_Q)} questions another token is likelier "
            f"({tokens})"
        )
    return words, bool(share_Q.mean() < _LITTLE or np.mean(is_option_Q) < _LITTLE)
