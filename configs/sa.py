"""Tunes a soft prompt towards Saudi Arabia (hofstede2010, C = 50).

On 2 CPU cores, in about a minute, L1 loss from 91.1 to 0.12 (a synthetic model, so no finding):
python -m jaxalign.train --config=sa.py:embedded

On one accelerator with more than 16 GB, Llama-3-8B-Instruct in bfloat16; not measured yet:
python -m jaxalign.train --config=sa.py
"""

from jaxalign import config as base_config


def get_config(variant: str = ""):
    config = base_config.base(variant)
    config.country = "SA"
    return config
