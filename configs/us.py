"""Tune a soft prompt towards the United States."""

from jaxalign import config as base_config


def get_config(variant: str = ""):
    config = base_config.base(variant)
    config.country = "US"
    return config
