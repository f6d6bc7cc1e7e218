"""From a population of soft prompts to its losses: the one place where the parts meet.

For P candidates of L rows and a trie of T tokens the work is P × (L + T) tokens through the model
and attention over P × (L + T)² pairs; memory grows with the chunk, not with P.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from jaxalign.prompts import Questions
from jaxalign.survey import Scoring, distance, item_means, scores_from_means


class Task(NamedTuple):
    """What is asked and what is wanted, as arrays (a pytree, an argument of the jitted step).

    Attributes:
      tokens_T, positions_T: the trie's nodes and their depths.
      mask_TT: whether the row's node may attend to the column's.
      answer_nodes_Q: where answers are read.
      answer_ids_QA, offered_QA: option tokens, and whether the option exists.
      scoring: the survey's formulas.
      target_C: scores to reach.
    """

    tokens_T: Int[Array, " T"] | np.ndarray
    positions_T: Int[Array, " T"] | np.ndarray
    mask_TT: Bool[Array, "T T"] | np.ndarray
    answer_nodes_Q: Int[Array, " Q"] | np.ndarray
    answer_ids_QA: Int[Array, "Q A"] | np.ndarray
    offered_QA: Bool[Array, "Q A"] | np.ndarray
    scoring: Scoring
    target_C: Float[Array, " C"] | np.ndarray


@dataclasses.dataclass(frozen=True)
class Objective:
    """How answers are read and compared; static under jit.

    Attributes:
      readout: `expected` takes the option probabilities, the mean of infinitely many respondents;
        `sampled` the shares among `respondents` seeded draws; `greedy` the likeliest option.
      respondents: of a sampled readout.
      norm: `l1` or `l2`.
      chunk: candidates evaluated at a time.
      attention: implementation, by name.
    """

    readout: str = "expected"
    respondents: int = 50
    norm: str = "l1"
    chunk: int = 1
    attention: str = "xla"


class Evaluation(NamedTuple):
    """What P candidates answered.

    Attributes:
      loss_P: distance to the target; +inf where it is not finite.
      scores_PC: scores.
      answers_PQA: share of respondents for each option.
    """

    loss_P: Float[Array, " P"]
    scores_PC: Float[Array, "P C"]
    answers_PQA: Float[Array, "P Q A"]


def make_task(questions: Questions, scoring: Scoring, target_C: np.ndarray) -> Task:
    """Lays out a survey and a target as arrays."""
    trie = questions.trie
    return Task(
        tokens_T=trie.tokens_T,
        positions_T=trie.positions_T,
        mask_TT=trie.ancestors_TT(),
        answer_nodes_Q=trie.answer_nodes_Q,
        answer_ids_QA=questions.answer_ids_QA,
        offered_QA=questions.offered_QA,
        scoring=scoring,
        target_C=np.asarray(target_C, np.float32),
    )


def answer_logits(
    model: Any, task: Task, prompt_LD: Float[Array, "L D"], attention: str = "xla"
) -> Float[Array, "Q A"]:
    """Float32 logits of the options, -inf where there is no such option; L may be 0."""
    length = prompt_LD.shape[0]
    size = task.tokens_T.shape[0]
    trie_TD = model.embed(task.tokens_T)
    embeddings_SD = jnp.concatenate([prompt_LD.astype(trie_TD.dtype), trie_TD])
    positions_S = jnp.concatenate([jnp.arange(length), task.positions_T + length])
    mask_SS = jnp.block(
        [
            [jnp.tri(length, dtype=bool), jnp.zeros((length, size), bool)],
            [jnp.ones((size, length), bool), jnp.asarray(task.mask_TT)],
        ]
    )
    hidden_QD = model(embeddings_SD, positions_S, mask_SS, task.answer_nodes_Q + length, attention)
    logits_QA = model.option_logits(hidden_QD, task.answer_ids_QA)
    return jnp.where(task.offered_QA, logits_QA, -jnp.inf)


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


def evaluate(
    graphdef: Any,
    objective: Objective,
    weights: Any,
    task: Task,
    population_PLD: Float[Array, "P L D"],
    key: jax.Array,
) -> Evaluation:
    """Answers, scores and losses of a population in one pass; nothing is computed twice.

    Args:
      graphdef: the model's structure, from `nnx.split`.
      weights: the model's arrays, shared by all candidates.
      objective: static settings.
      task: what is asked.
      population_PLD: soft prompts, in the type of the search; cast to the model's.
      key: consumed by a sampled readout.
    """
    model = nnx.merge(graphdef, weights)

    def answer(candidate: tuple[jax.Array, jax.Array]) -> jax.Array:
        prompt_LD, candidate_key = candidate
        logits_QA = answer_logits(model, task, prompt_LD, objective.attention)
        return read_answers(logits_QA, objective, candidate_key)

    population = population_PLD.shape[0]
    keys_P = jax.random.split(key, population)
    answers_PQA = jax.lax.map(
        answer, (population_PLD, keys_P), batch_size=min(objective.chunk, population)
    )
    scores_PC = scores_from_means(task.scoring, item_means(task.scoring, answers_PQA))
    loss_P = distance(scores_PC, jnp.asarray(task.target_C), objective.norm)
    return Evaluation(jnp.where(jnp.isfinite(loss_P), loss_P, jnp.inf), scores_PC, answers_PQA)


def choose_chunk(bytes_of: Callable[[int], int], population: int, budget: int) -> int:
    """The largest chunk whose evaluation fits, by compiled memory analysis.

    Args:
      bytes_of: temporary bytes of an evaluation compiled for a chunk.
      population: P, the largest chunk that makes sense.
      budget: bytes there are.

    Returns:
      The smallest chunk that needs no more rounds than the largest that fits; at least 1 even if
      that does not fit.
    """
    one, two = bytes_of(1), bytes_of(min(2, population))
    each = max(two - one, 1)
    chunk = max(1, min(population, 1 + max(0, budget - one) // each))
    while chunk > 1 and bytes_of(chunk) > budget:
        chunk //= 2
    rounds = -(-population // chunk)
    return -(-population // rounds)
