"""Initial populations: where a search starts decides most of where it ends.

Differential evolution only recombines, so it never leaves the affine span of its first population.
All functions give float32 `[P, L, D]` and consume their key.
"""

import jax
import jax.numpy as jnp


def from_tokens(table_VD: jax.Array, ids_PL: jax.Array) -> jax.Array:
    """Soft prompts that spell given texts in the model's own embeddings."""
    return table_VD[ids_PL].astype(jnp.float32)


def from_vocabulary(key: jax.Array, table_VD: jax.Array, population: int, length: int) -> jax.Array:
    """Soft prompts of embedding rows drawn uniformly from the vocabulary."""
    ids_PL = jax.random.randint(key, (population, length), 0, table_VD.shape[0])
    return from_tokens(table_VD, ids_PL)


def normal(key: jax.Array, table_VD: jax.Array, population: int, length: int) -> jax.Array:
    """Normal noise with each coordinate's mean and standard deviation over the vocabulary."""
    mean_D = jnp.mean(table_VD, axis=0, dtype=jnp.float32)
    square_D = jnp.mean(jnp.square(table_VD.astype(jnp.float32)), axis=0)
    spread_D = jnp.sqrt(jnp.maximum(square_D - mean_D**2, 0.0))
    noise_PLD = jax.random.normal(key, (population, length, table_VD.shape[1]), jnp.float32)
    return mean_D[None, None, :] + spread_D[None, None, :] * noise_PLD


def vocabulary_bounds(table_VD: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Smallest and largest value of each coordinate over the vocabulary, float32 `[D]` each."""
    return (
        jnp.min(table_VD, axis=0).astype(jnp.float32),
        jnp.max(table_VD, axis=0).astype(jnp.float32),
    )
