"""Tune a soft prompt towards India."""

from jaxalign import config as base_config


def get_config(variant: str = ""):
    config = base_config.base(variant)
    config.country = "IN"
    return config
