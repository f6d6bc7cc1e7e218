"""Rotary position embeddings: the angles of arbitrary integer positions, and the rotation."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign.model.hf_rope import RopeConfig

Turn = tuple[jax.Array, jax.Array]  # cosine and sine of the angles, float32 [S, H / 2] each


def inverse_frequencies(rope: RopeConfig, head_dim: int) -> np.ndarray:
    """Compute the rotation speed of each pair of dimensions.

    Rounds to float32 where transformers does: an ulp of difference here would grow with the
    position to 5e-5 rad at position 800.

    Args:
      rope: type, base and scaling (dynamic is default, see `RopeConfig`).
      head_dim: H, even.

    Returns:
      float32 `[H / 2]`, radians per position.
    """
    exponents = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    wavelengths = (rope.theta ** exponents.astype(np.float64)).astype(np.float32)  # over 2 pi
    speeds = np.float32(1) / wavelengths
    if rope.type == "linear":
        speeds = speeds / np.float32(rope.factor)
    elif rope.type == "llama3":
        speeds = _llama3(rope, speeds)
    elif rope.type == "yarn":
        speeds = _yarn(rope, head_dim, wavelengths)
    return speeds.astype(np.float32)


def _llama3(rope: RopeConfig, speeds: np.ndarray) -> np.ndarray:
    """Slow the long wavelengths by `factor`, keep the short ones, blend between (Llama 3.1)."""
    turns = rope.original_max_positions * speeds / np.float32(2 * math.pi)
    blend = (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor)
    blend = np.clip(blend, 0, 1).astype(np.float32)
    return (1 - blend) * speeds / np.float32(rope.factor) + blend * speeds


def _yarn(rope: RopeConfig, head_dim: int, wavelengths: np.ndarray) -> np.ndarray:
    """Interpolate by how many turns fit the original length (Peng et al. 2023, section 3.2)."""

    def dimension(turns: float) -> float:
        length = rope.original_max_positions / (turns * 2 * math.pi)
        return head_dim * math.log(length) / (2 * math.log(rope.theta))

    low, high = dimension(rope.beta_fast), dimension(rope.beta_slow)
    if rope.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_dim - 1)
    if low == high:
        high += 0.001
    ramp = (np.arange(head_dim // 2, dtype=np.float32) - low) / (high - low)
    ramp = np.clip(ramp, 0, 1).astype(np.float32)
    slowed = np.float32(1) / (np.float32(rope.factor) * wavelengths)
    return slowed * ramp + (1 - ramp) / wavelengths


def rotation(rope: RopeConfig, head_dim: int, positions_S: jax.Array) -> Turn:
    """Return cosine and sine of each position's angles, attention factor included.

    Args:
      rope: type, base and scaling.
      head_dim: H, even.
      positions_S: integers `[S]`, in any order, with repetitions.

    Returns:
      Two float32 arrays `[S, H / 2]`.
    """
    speeds = jnp.asarray(inverse_frequencies(rope, head_dim))
    angles = positions_S.astype(jnp.float32)[:, None] * speeds[None, :]
    factor = jnp.float32(rope.attention_factor)
    return jnp.cos(angles) * factor, jnp.sin(angles) * factor


def rotate(vectors_SNH: jax.Array, turn: Turn) -> jax.Array:
    """Rotate every head's vector; dimension i is paired with i + H/2, as Hugging Face lays it out.

    Args:
      vectors_SNH: `[S, N, H]`, any number of heads.
      turn: cosine and sine `[S, H / 2]`.

    Returns:
      `[S, N, H]` in the type of the vectors, computed in float32.
    """
    cosine, sine = (part[:, None, :] for part in turn)
    first, second = jnp.split(vectors_SNH.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate(
        [first * cosine - second * sine, second * cosine + first * sine], axis=-1
    )
    return turned.astype(vectors_SNH.dtype)
