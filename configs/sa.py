"""Tune a soft prompt towards Saudi Arabia."""

from jaxalign import config as base_config


def get_config(variant: str = ""):
    config = base_config.base(variant)
    config.country = "SA"
    return config
