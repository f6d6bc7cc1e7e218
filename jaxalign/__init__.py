"""Align a frozen language model with a country's values: soft prompts, evolved in JAX."""

import time

__version__ = "0.1.0"
IMPORTED = time.perf_counter()  # what `startup` counts a command's seconds from
