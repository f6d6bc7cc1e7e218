"""Initial populations: where a search starts decides most of where it ends.

Differential evolution only recombines, so it never leaves the affine span of its first population.
All populations are float32 `[P, L, D]`, and a function that takes a key consumes it.
"""

import jax
import jax.numpy as jnp


def from_tokens(table_VD: jax.Array, ids_PL: jax.Array) -> jax.Array:
    """Return soft prompts that spell given texts in the model's own embeddings."""
    return table_VD[ids_PL].astype(jnp.float32)


def from_vocabulary(key: jax.Array, table_VD: jax.Array, population: int, length: int) -> jax.Array:
    """Return soft prompts of embedding rows drawn uniformly from the vocabulary."""
    ids_PL = jax.random.randint(key, (population, length), 0, table_VD.shape[0])
    return from_tokens(table_VD, ids_PL)


def normal(key: jax.Array, table_VD: jax.Array, population: int, length: int) -> jax.Array:
    """Draw normal noise with each coordinate's mean and standard deviation over the vocabulary."""
    mean_D, square_D = _moments(table_VD)
    spread_D = jnp.sqrt(jnp.maximum(square_D - mean_D**2, 0.0))
    noise_PLD = jax.random.normal(key, (population, length, table_VD.shape[1]), jnp.float32)
    return mean_D[None, None, :] + spread_D[None, None, :] * noise_PLD


def mixtures(key: jax.Array, texts_NLD: jax.Array, population: int) -> jax.Array:
    """Return soft prompts between two of N given ones: row l is u_l a_l + (1 - u_l) b_l.

    Each member draws two different texts a and b, and for each row a weight u_l uniform in [0, 1).
    So every row lies between two real embeddings, and any population can be filled from N texts.

    Raises:
      ValueError: there are fewer than two texts.
    """
    pair_key, weight_key = jax.random.split(key)
    first_P, second_P = draw_pairs(pair_key, texts_NLD.shape[0], population)
    weight_PL1 = jax.random.uniform(weight_key, (population, texts_NLD.shape[1], 1))
    first_PLD = texts_NLD[first_P].astype(jnp.float32)
    second_PLD = texts_NLD[second_P].astype(jnp.float32)
    return weight_PL1 * first_PLD + (1.0 - weight_PL1) * second_PLD


def resize_population(
    population_PLD: jax.Array, count: int, key: jax.Array, noise: float | jax.Array
) -> jax.Array:
    """Return `count` members: the first ones, or all repeated with normal noise.

    So a search can start from another run's population, best first, or from one prompt, `[None]`.

    Args:
      population_PLD: given prompts.
      count: of members in the result.
      key: consumed.
      noise: standard deviation of what is added to each coordinate of a repeated member.
    """
    members = jnp.asarray(population_PLD, jnp.float32)
    size = members.shape[0]
    if count <= size:
        return members[:count]
    copies = members[jnp.arange(size, count) % size]
    copies += noise * jax.random.normal(key, copies.shape, jnp.float32)
    return jnp.concatenate([members, copies])


def draw_pairs(key: jax.Array, choices: int, count: int) -> tuple[jax.Array, jax.Array]:
    """Draw `count` ordered pairs of different indices below `choices`, all equally likely.

    Raises:
      ValueError: there are fewer than two choices.
    """
    if choices < 2:
        raise ValueError(f"a pair needs at least two choices, not {choices}")
    first_key, step_key = jax.random.split(key)
    first = jax.random.randint(first_key, (count,), 0, choices)
    step = jax.random.randint(step_key, (count,), 1, choices)
    return first, (first + step) % choices


def vocabulary_bounds(table_VD: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return each coordinate's least and largest value over the vocabulary, float32 `[D]` each."""
    return (
        jnp.min(table_VD, axis=0).astype(jnp.float32),
        jnp.max(table_VD, axis=0).astype(jnp.float32),
    )


def embedding_std(table_VD: jax.Array) -> jax.Array:
    """Return the standard deviation of the embedding table's entries around their common mean."""
    mean_D, square_D = _moments(table_VD)
    return jnp.sqrt(jnp.maximum(jnp.mean(square_D) - jnp.mean(mean_D) ** 2, 0.0))


def _moments(table_VD: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return mean and mean square of each coordinate, in float32 whatever the table's type."""
    mean_D = jnp.mean(table_VD, axis=0, dtype=jnp.float32)
    square_D = jnp.mean(jnp.square(table_VD.astype(jnp.float32)), axis=0)
    return mean_D, square_D
