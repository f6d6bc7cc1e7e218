"""Trains the embedded model: to answer as respondents do, then also to write answers out."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxalign.make_embedded.examples import Batch, Examples
from jaxalign.model import Decoder, DecoderConfig

PEAK_RATE = 2e-3
LATER_RATE = 1e-3  # of a training that continues another
QUIET = 0.4  # share of the steps before personas become noisy
NOISE = 0.5


def make_optimizer(steps: int, peak: float) -> optax.GradientTransformation:
    """AdamW under a warm-up and a cosine decay to zero."""
    warmup = min(100, max(1, steps // 10))
    schedule = optax.warmup_cosine_decay_schedule(0.0, peak, warmup, max(steps, warmup + 1))
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=0.01))


def loss_of_batch(model: Decoder, batch: Batch) -> jax.Array:
    """Return the mean KL divergence of the answers in nats, plus written cross-entropy."""
    items, written = batch.read_BQ.shape[1], batch.written_BW.shape[1]
    read_BR = jnp.concatenate([batch.read_BQ, batch.written_BW], axis=1)
    hidden_BRD = jax.vmap(model)(
        model.embed(batch.tokens_BS), batch.positions_BS, batch.mask_BSS, read_BR
    )
    logs_BRV = jax.nn.log_softmax(hidden_BRD @ model.embedding[...].T, axis=-1)
    options_BQA = jnp.take_along_axis(logs_BRV[:, :items], batch.answer_ids_BQA, axis=-1)
    entropy_BQ = jnp.sum(jax.scipy.special.xlogy(batch.target_BQA, batch.target_BQA), axis=-1)
    loss = jnp.mean(entropy_BQ - jnp.sum(batch.target_BQA * options_BQA, axis=-1))
    if not written:
        return loss
    there_BW = batch.next_BW >= 0
    next_BW1 = jnp.where(there_BW, batch.next_BW, 0)[..., None]
    logs_BW = jnp.take_along_axis(logs_BRV[:, items:], next_BW1, axis=-1)[..., 0]
    return loss - jnp.sum(jnp.where(there_BW, logs_BW, 0.0)) / jnp.sum(there_BW)


def train(
    config: DecoderConfig,
    examples: Examples,
    *,
    steps: int,
    batch_size: int,
    seed: int,
    report: Callable[[int, float], None],
    start: Any = None,
) -> tuple[Any, Any]:
    """Train from random weights, or on; equal arguments give equal weights on one machine.

    Args:
      config: architecture with a tied head.
      examples: where batches come from.
      steps: of the optimizer.
      batch_size: examples per step.
      seed: of weights and batches.
      report: called with the step and the mean loss in nats since the last call.
      start: params to begin with, at a lower rate and with noise from the first step.

    Returns:
      graphdef and params, float32.
    """
    graphdef, params = nnx.split(Decoder(config, dtype=jnp.float32, rngs=nnx.Rngs(seed)))
    params = params if start is None else start
    optimizer = make_optimizer(steps, PEAK_RATE if start is None else LATER_RATE)
    moments = optimizer.init(params)
    quiet_until = QUIET * steps if start is None else 0

    def loss(params: Any, batch: Batch) -> jax.Array:
        return loss_of_batch(nnx.merge(graphdef, params), batch)

    @jax.jit
    def update(params: Any, moments: Any, batch: Batch) -> tuple[Any, Any, jax.Array]:
        value, gradient = jax.value_and_grad(loss)(params, batch)
        updates, moments = optimizer.update(gradient, moments, params)
        return optax.apply_updates(params, updates), moments, value

    rng = np.random.default_rng(seed)
    values = []
    for step in range(1, steps + 1):
        noise = 0.0 if step <= quiet_until else NOISE
        batch = examples.draw(rng, batch_size, noise)
        params, moments, value = update(params, moments, batch)
        values.append(value)
        if step % 50 == 0 or step == steps:
            report(step, float(np.mean(values)))
            values = []
    return graphdef, params
