"""Align a frozen language model with a country's values: soft prompts, evolved in JAX."""

__version__ = "0.1.0"
