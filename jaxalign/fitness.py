"""From a population of soft prompts to its losses: the one place where the parts meet.

For P candidates of L rows and a trie of T tokens the work is P × (L + T) tokens through the model
and attention over P × (L + T)² pairs; memory grows with the chunk, not with P.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from jaxalign.devices.mesh import POPULATION, everywhere
from jaxalign.model import AUTO, Shared
from jaxalign.objective import Evaluation, Objective, Task, measure_answers


def answer_logits(
    model: Any,
    task: Task,
    prompt_LD: Float[Array, "L D"],
    attention: str = AUTO,
    shared: Shared | None = None,
) -> Float[Array, "Q A"]:
    """Float32 logits of the options, -inf where there is no such option; L may be 0.

    Args:
      model: the language model.
      task: what is asked.
      prompt_LD: soft prompt; cast to the model's type.
      attention: implementation, by name.
      shared: `share_questions` for this length; made here if left out.
    """
    hidden_QD = answer_states(model, task, prompt_LD, attention, shared)
    logits_QA = model.option_logits(hidden_QD, task.answer_ids_QA)
    return jnp.where(task.offered_QA, logits_QA, -jnp.inf)


def answer_states(
    model: Any,
    task: Task,
    prompt_LD: Float[Array, "L D"],
    attention: str = AUTO,
    shared: Shared | None = None,
) -> Float[Array, "Q D"]:
    """Final hidden states where answers begin; arguments as of `answer_logits`."""
    length = prompt_LD.shape[0]
    if shared is None:
        shared = share_questions(model, task, length)
    positions_S, mask_SS, read_Q = lay_out(task, length)
    return model(prompt_LD, positions_S, mask_SS, read_Q, attention, task.tree, shared)


def lay_out(
    task: Task, length: int
) -> tuple[Int[Array, " S"], Bool[Array, "S S"], Int[Array, " Q"]]:
    """Positions, mask and answer nodes of a sequence of L soft rows and the trie's T tokens."""
    size = task.tokens_T.shape[0]
    positions_S = jnp.concatenate([jnp.arange(length), task.positions_T + length])
    mask_SS = jnp.block(
        [
            [jnp.tri(length, dtype=bool), jnp.zeros((length, size), bool)],
            [jnp.ones((size, length), bool), jnp.asarray(task.mask_TT)],
        ]
    )
    return positions_S, mask_SS, task.answer_nodes_Q + length


def share_questions(model: Any, task: Task, length: int) -> Shared:
    """What the questions cost once for all candidates: T tokens into the first layer."""
    return model.share(task.tokens_T, task.positions_T + length)


def read_answers(
    logits_QA: Float[Array, "Q A"], objective: Objective, key: jax.Array
) -> Float[Array, "Q A"]:
    """Share of respondents for each option. Consumes the key when the readout is sampled."""
    if objective.readout == "expected":
        return jax.nn.softmax(logits_QA, axis=-1)
    options = logits_QA.shape[-1]
    if objective.readout == "greedy":
        return jax.nn.one_hot(jnp.argmax(logits_QA, axis=-1), options)
    shape = (objective.respondents, logits_QA.shape[0])
    chosen_NQ = jax.random.categorical(key, logits_QA, axis=-1, shape=shape)
    return jnp.mean(jax.nn.one_hot(chosen_NQ, options), axis=0)


def answer_population(
    graphdef: Any,
    objective: Objective,
    weights: Any,
    task: Task,
    population_PLD: Float[Array, "P L D"],
    keys_P: jax.Array,
    count: jax.Array | None,
) -> Float[Array, "P Q A"]:
    """Shares of respondents for each option, chunk by chunk; `evaluate` tells of the arguments."""
    model = nnx.merge(graphdef, weights)
    shared = share_questions(model, task, population_PLD.shape[1])

    def answer(prompt_LD: jax.Array, candidate_key: jax.Array) -> jax.Array:
        logits_QA = answer_logits(model, task, prompt_LD, objective.attention, shared)
        return read_answers(logits_QA, objective, candidate_key)

    population = population_PLD.shape[0]
    chunk = min(objective.chunk, population)
    # The last chunk goes back over what the one before has done: all chunks have one shape, so the
    # forward is compiled once, and any number of them can be left out without another compilation.
    rounds = -(-population // chunk)

    def one_chunk(index: jax.Array, answers_PQA: jax.Array) -> jax.Array:
        first = jnp.minimum(index * chunk, population - chunk)
        prompts, keys = (
            jax.lax.dynamic_slice_in_dim(each, first, chunk) for each in (population_PLD, keys_P)
        )
        answered = jax.vmap(answer)(prompts, keys)
        return jax.lax.dynamic_update_slice_in_dim(answers_PQA, answered, first, 0)

    return jax.lax.fori_loop(
        0,
        rounds if count is None else (count + chunk - 1) // chunk,
        one_chunk,
        jnp.zeros((population, *task.answer_ids_QA.shape)),
    )


def answer_over_mesh(
    mesh: jax.sharding.Mesh,
    answer: Callable[..., jax.Array],
    weights: Any,
    task: Task,
    population_PLD: Float[Array, "P L D"],
    keys_P: jax.Array,
    count: jax.Array | None,
) -> Float[Array, "P Q A"]:
    """The same with candidates shared out over the population axis, in turn like cards.

    So devices have the same number of those that matter, give or take one, and all go through the
    same number of chunks. Only what `answer` does along the model axis is left to GSPMD.
    """
    population, *shape = population_PLD.shape
    devices, size = mesh.shape[POPULATION], math.prod(shape)
    each = -(-population // devices)
    idle = each * devices - population
    vectors_PN = population_PLD.reshape(population, size)
    if idle or size % devices:
        vectors_PN = jnp.pad(vectors_PN, ((0, idle), (0, -size % devices)))
    hands = jnp.concatenate([keys_P, keys_P[:idle]]).reshape(each, devices)

    def answer_hand(
        weights: Any, task: Task, vectors: jax.Array, keys: jax.Array, rows: jax.Array
    ) -> jax.Array:
        # From some coordinates of all candidates to all coordinates of some.
        vectors = jax.lax.all_to_all(
            vectors.reshape(each, devices, -1), POPULATION, split_axis=1, concat_axis=2, tiled=True
        )
        prompts_PLD = vectors[:, 0, :size].reshape(each, *shape)
        return answer(weights, task, prompts_PLD, keys[:, 0], rows)[:, None]

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
    )(weights, task, vectors_PN, hands, rows)
    return answered.reshape(each * devices, *answered.shape[2:])[:population]


def evaluate(
    graphdef: Any,
    objective: Objective,
    weights: Any,
    task: Task,
    population_PLD: Float[Array, "P L D"],
    key: jax.Array,
    count: jax.Array | None = None,
    mesh: jax.sharding.Mesh | None = None,
) -> Evaluation:
    """Answers, scores and losses of a population in one pass; nothing is computed twice.

    Args:
      graphdef: the model's structure, from `nnx.split`.
      objective: static settings.
      weights: the model's arrays, shared by all candidates.
      task: what is asked.
      population_PLD: soft prompts, in the type of the search; cast to the model's.
      key: consumed by a sampled readout.
      count: how many of the first candidates matter; the others cost nothing but what fills up the
        last chunk, and their loss is +inf. None for all.
      mesh: whose population axis shares out the candidates; None to have each device take all.
    """
    answer = functools.partial(answer_population, graphdef, objective)
    if mesh is not None:
        answer = functools.partial(answer_over_mesh, mesh, answer)
    population = population_PLD.shape[0]
    keys_P = jax.random.split(key, population)
    answers_PQA = answer(weights, task, population_PLD, keys_P, count)
    result = measure_answers(objective, task, population_PLD, answers_PQA)
    if mesh is not None:  # a few numbers for each candidate, which every device then has
        result = jax.lax.with_sharding_constraint(result, everywhere(mesh))
    if count is None:
        return result
    matters_P = jnp.arange(population) < count
    return result._replace(loss_GP=jnp.where(matters_P[None], result.loss_GP, jnp.inf))


def loss_of_prompt(
    graphdef: Any, objective: Objective, weights: Any, task: Task, prompt_LD: Float[Array, "L D"]
) -> Float[Array, " G"]:
    """Losses of one soft prompt with expected answers: what can be differentiated."""
    logits_QA = answer_logits(nnx.merge(graphdef, weights), task, prompt_LD, objective.attention)
    answers_QA = jax.nn.softmax(logits_QA, axis=-1)
    return measure_answers(objective, task, prompt_LD[None], answers_QA[None]).loss_GP[:, 0]


def choose_chunk(
    bytes_of: Callable[[int], int], runs: Callable[[int], bool], population: int, budget: int
) -> int:
    """The largest chunk whose evaluation fits.

    Args:
      bytes_of: temporary bytes of an evaluation compiled for a chunk.
      runs: whether a chunk finds the memory that it needs, when tried.
      population: P, the largest chunk that makes sense.
      budget: bytes there are.

    Returns:
      The smallest chunk that needs no more rounds than the largest that fits by analysis; half of
      it, and so on, if it does not run; at least 1 even if that does not fit.
    """
    one, two = bytes_of(1), bytes_of(min(2, population))
    each = max(two - one, 1)
    chunk = max(1, min(population, 1 + max(0, budget - one) // each))
    while chunk > 1 and bytes_of(chunk) > budget:
        chunk //= 2
    rounds = -(-population // chunk)
    chunk = -(-population // rounds)
    while chunk > 1 and not runs(chunk):
        chunk //= 2
    return chunk
