"""Trains the embedded model: soft-target cross-entropy at the answer nodes of the trie."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxalign.make_embedded.examples import Batch, Examples
from jaxalign.model import Llama, LlamaConfig

PEAK_RATE = 2e-3
# Shares of the steps: in the usual form only, and before personas become noisy. With all forms from
# the start the model had hardly learned the countries after 4,000 steps.
USUAL_ONLY = 0.2
QUIET = 0.4
NOISE = 0.5


def make_optimizer(steps: int) -> optax.GradientTransformation:
    """AdamW under a warm-up and a cosine decay to zero."""
    warmup = min(100, max(1, steps // 10))
    schedule = optax.warmup_cosine_decay_schedule(0.0, PEAK_RATE, warmup, max(steps, warmup + 1))
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=0.01))


def logits_at_answers(model: Llama, batch: Batch) -> jax.Array:
    """Float32 logits [B, Q, V] over the whole vocabulary at each answer node."""
    hidden_BQD = jax.vmap(model)(
        model.embed(batch.tokens_BS), batch.positions_BS, batch.mask_BSS, batch.read_BQ
    )
    return hidden_BQD @ model.embedding[...].T


def train(
    config: LlamaConfig,
    examples: Examples,
    *,
    steps: int,
    batch_size: int,
    seed: int,
    report: Callable[[int, float], None],
) -> tuple[Any, Any]:
    """Trains from random weights; the same arguments give the same weights on the same machine.

    Args:
      config: architecture with a tied head.
      examples: where batches come from.
      steps: of the optimizer.
      batch_size: examples per step.
      seed: of weights and batches.
      report: called with the step and the mean KL divergence in nats since the last call.

    Returns:
      graphdef and params, float32.
    """
    graphdef, params = nnx.split(Llama(config, dtype=jnp.float32, rngs=nnx.Rngs(seed)))
    optimizer = make_optimizer(steps)
    moments = optimizer.init(params)

    def loss(params: Any, batch: Batch) -> jax.Array:
        logits_BQV = logits_at_answers(nnx.merge(graphdef, params), batch)
        logs_BQV = jax.nn.log_softmax(logits_BQV, axis=-1)
        options_BQA = jnp.take_along_axis(logs_BQV, batch.answer_ids_BQA, axis=-1)
        kl_BQ = jnp.sum(jax.scipy.special.xlogy(batch.target_BQA, batch.target_BQA), axis=-1)
        return jnp.mean(kl_BQ - jnp.sum(batch.target_BQA * options_BQA, axis=-1))

    @jax.jit
    def update(params: Any, moments: Any, batch: Batch) -> tuple[Any, Any, jax.Array]:
        value, gradient = jax.value_and_grad(loss)(params, batch)
        updates, moments = optimizer.update(gradient, moments, params)
        return optax.apply_updates(params, updates), moments, value

    rng = np.random.default_rng(seed)
    values = []
    for step in range(1, steps + 1):
        noise = 0.0 if step <= QUIET * steps else NOISE
        batch = examples.draw(rng, batch_size, noise, step <= USUAL_ONLY * steps)
        params, moments, value = update(params, moments, batch)
        values.append(value)
        if step % 50 == 0 or step == steps:
            report(step, float(np.mean(values)))
            values = []
    return graphdef, params
