"""The matrix rate that a device reaches here and now: what the model's own rate is held against."""

import functools

import jax
import jax.numpy as jnp

from jaxalign.model.quantization import matmul_precision

_CPU = (2048, 1)  # rows of the matrices, products in a row
_ACCELERATOR = (8192, 10)  # several, so that no launch is waited for


class Ceiling:
    """Large products of random square matrices, at the precision of the model's linear layers.

    Args:
      dtype: of the matrices, the model's own.

    Attributes:
      rows: of the matrices.
      flop: operations of one call.
    """

    def __init__(self, dtype: jnp.dtype):
        platform = jax.devices()[0].platform
        self.rows, self._products = _CPU if platform == "cpu" else _ACCELERATOR
        self.flop = self._products * 2 * self.rows**3
        self._sides = [
            jax.random.normal(key, (self.rows, self.rows), dtype)
            for key in jax.random.split(jax.random.key(0))
        ]
        self._multiply = jax.jit(functools.partial(jnp.matmul, precision=matmul_precision(dtype)))

    def __call__(self) -> None:
        """Multiply, until the device is done."""
        jax.block_until_ready([self._multiply(*self._sides) for _ in range(self._products)])
