"""From a population of soft prompts to its losses: the one place where the parts meet.

For P candidates of L rows and a trie of T tokens the work is P × (L + T) tokens through the model
and attention over P × (L + T)² pairs; memory grows with the chunk, not with P.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from jaxalign.devices.mesh import POPULATION, everywhere
from jaxalign.fitness.readout import answer_logits, read_answers, share_questions
from jaxalign.model import AUTO
from jaxalign.objective import Evaluation, Layout, Objective, Task, measure_answers


@dataclasses.dataclass(frozen=True)
class Execution:
    """How an evaluation is computed; results depend on it only by rounding.

    Attributes:
      chunk: candidates evaluated at a time, on each device of the mesh's population axis.
      attention: implementation, by name; see `jaxalign.model.attend`.
      mesh: devices that share the candidates; None to have each device take all.
    """

    chunk: int = 1
    attention: str = AUTO
    mesh: jax.sharding.Mesh | None = None


@dataclasses.dataclass(frozen=True)
class Evaluator:
    """Evaluates a population in one pass; equal evaluators share one compilation under jit.

    Attributes:
      graphdef: the model's structure, from `nnx.split`.
      objective: how answers are read and compared.
      execution: how this is computed.
    """

    graphdef: Any
    objective: Objective
    execution: Execution = Execution()

    def __call__(
        self,
        weights: Any,
        task: Task,
        prompts_PLD: Float[Array, "P L D"],
        *,
        key: jax.Array,
        count: jax.Array | None = None,
    ) -> Evaluation:
        """Return the answers, scores and losses of P soft prompts.

        Args:
          weights: the model's arrays, shared by all candidates.
          task: what is asked and wanted.
          prompts_PLD: in the type of the search; cast to the model's.
          key: consumed by a sampled readout.
          count: number of first candidates that matter, all if None. The others cost nothing but
            the rest of the last chunk, and their loss is +inf.
        """
        mesh, population = self.execution.mesh, prompts_PLD.shape[0]
        keys_P = jax.random.split(key, population)
        given = weights, task.layout, prompts_PLD, keys_P, count
        if mesh is None:
            answers_PQA = self._answer(*given)
        else:
            answers_PQA = _over_mesh(mesh, self._answer, *given)
        result = measure_answers(self.objective, task.goal, prompts_PLD, answers_PQA)
        if mesh is not None:  # a few numbers for each candidate, which every device then has
            result = jax.lax.with_sharding_constraint(result, everywhere(mesh))
        if count is None:
            return result
        matters_P = jnp.arange(population) < count
        loss_GP = jnp.where(matters_P[None], result.loss_GP, jnp.inf)
        return dataclasses.replace(result, loss_GP=loss_GP)

    def _answer(
        self,
        weights: Any,
        layout: Layout,
        prompts_PLD: jax.Array,
        keys_P: jax.Array,
        count: jax.Array | None,
    ) -> jax.Array:
        """Return shares of respondents for each option [P, Q, A], chunk by chunk."""
        model = nnx.merge(self.graphdef, weights)
        shared = share_questions(model, layout, prompts_PLD.shape[1])

        def answer(prompt_LD: jax.Array, key: jax.Array) -> jax.Array:
            logits_QA = answer_logits(model, layout, prompt_LD, self.execution.attention, shared)
            return read_answers(logits_QA, self.objective, key)

        population = prompts_PLD.shape[0]
        chunk = min(self.execution.chunk, population)
        # The last chunk overlaps the one before: all chunks have one shape, so the forward is
        # compiled once, and any number of chunks can be left out without another compilation.
        rounds = -(-population // chunk)

        def one_chunk(index: jax.Array, answers_PQA: jax.Array) -> jax.Array:
            first = jnp.minimum(index * chunk, population - chunk)
            prompts, keys = (
                jax.lax.dynamic_slice_in_dim(each, first, chunk) for each in (prompts_PLD, keys_P)
            )
            answered = jax.vmap(answer)(prompts, keys)
            return jax.lax.dynamic_update_slice_in_dim(answers_PQA, answered, first, 0)

        return jax.lax.fori_loop(
            0,
            rounds if count is None else (count + chunk - 1) // chunk,
            one_chunk,
            jnp.zeros((population, *layout.answer_ids_QA.shape)),
        )


def _over_mesh(
    mesh: jax.sharding.Mesh,
    answer: Callable[..., jax.Array],
    weights: Any,
    layout: Layout,
    prompts_PLD: jax.Array,
    keys_P: jax.Array,
    count: jax.Array | None,
) -> jax.Array:
    """Call `answer` with the candidates dealt out over the population axis, like cards.

    So devices have the same number of candidates that matter, give or take one, and the same number
    of chunks. Only what `answer` does along the model axis is left to GSPMD.
    """
    population, *shape = prompts_PLD.shape
    devices, size = mesh.shape[POPULATION], math.prod(shape)
    each = -(-population // devices)
    idle = each * devices - population
    vectors_PN = prompts_PLD.reshape(population, size)
    if idle or size % devices:
        vectors_PN = jnp.pad(vectors_PN, ((0, idle), (0, -size % devices)))
    hands = jnp.concatenate([keys_P, keys_P[:idle]]).reshape(each, devices)

    def answer_hand(
        weights: Any, layout: Layout, vectors: jax.Array, keys: jax.Array, rows: jax.Array
    ) -> jax.Array:
        # From some coordinates of all candidates to all coordinates of some.
        vectors = jax.lax.all_to_all(
            vectors.reshape(each, devices, -1), POPULATION, split_axis=1, concat_axis=2, tiled=True
        )
        prompts_PLD = vectors[:, 0, :size].reshape(each, *shape)
        return answer(weights, layout, prompts_PLD, keys[:, 0], rows)[:, None]

    copied, turns = PartitionSpec(), PartitionSpec(None, POPULATION)
    # Split along population only: all that share a candidate want it whole.
    vectors_PN = jax.lax.with_sharding_constraint(vectors_PN, NamedSharding(mesh, turns))
    rows = jnp.int32(each) if count is None else (count + devices - 1) // devices
    answered = jax.shard_map(
        answer_hand,
        mesh=mesh,
        in_specs=(copied, copied, turns, turns, copied),
        out_specs=turns,
        axis_names={POPULATION},
        check_vma=False,
    )(weights, layout, vectors_PN, hands, rows)
    return answered.reshape(each * devices, *answered.shape[2:])[:population]


def loss_of_prompt(
    evaluator: Evaluator, weights: Any, task: Task, prompt_LD: Float[Array, "L D"]
) -> Float[Array, " G"]:
    """Return one soft prompt's losses with expected answers, which can be differentiated."""
    model = nnx.merge(evaluator.graphdef, weights)
    logits_QA = answer_logits(model, task.layout, prompt_LD, evaluator.execution.attention)
    answers_QA = jax.nn.softmax(logits_QA, axis=-1)
    measured = measure_answers(evaluator.objective, task.goal, prompt_LD[None], answers_QA[None])
    return measured.loss_GP[:, 0]


def choose_chunk(seconds_of: Callable[[int], float], population: int) -> int:
    """Return the chunk whose candidates take the least time, of 2, 8, 32 and so on.

    More is not always better: on a TPU small chunks stay in the chip's fast memory, and on a GPU
    they leave it idle. Larger ones are tried as long as they help, halved ones where one does not
    fit; chunks are as even as their number allows.

    Args:
      seconds_of: what a chunk takes; +inf where it does not fit.
      population: P, the largest chunk that makes sense.

    Returns:
      At least 1, even if that does not fit.
    """

    def even(chunk: int) -> int:
        return -(-population // -(-population // chunk))

    best, least, most = 1, math.inf, population
    chunk = even(min(2, most))
    while best < chunk:
        seconds = seconds_of(chunk)
        if seconds == math.inf:
            most = chunk // 2
            chunk = even(most) if most else 0
        elif seconds / chunk < least:
            best, least = chunk, seconds / chunk
            chunk = even(min(4 * chunk, most))
        else:
            break
    return best
