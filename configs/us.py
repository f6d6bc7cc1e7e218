"""Tunes a soft prompt towards the United States (hofstede2010, C = 50).

On 2 CPU cores, in about a minute, L1 loss from 122.0 to 0.19 (a synthetic model, so no finding):
python -m jaxalign.train --config=us.py:embedded

On one accelerator with more than 16 GB, Llama-3-8B-Instruct in bfloat16; not measured yet:
python -m jaxalign.train --config=us.py
"""

from jaxalign import config as base_config


def get_config(variant: str = ""):
    config = base_config.base(variant)
    config.country = "US"
    return config
