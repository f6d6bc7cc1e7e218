"""Tunes a soft prompt towards India (hofstede2010, C = 50).

On 2 CPU cores, in about a minute, L1 loss from 80.8 to 0.073 (a synthetic model, so no finding):
python -m jaxalign.train --config=in.py:embedded

On one accelerator with more than 16 GB, Llama-3-8B-Instruct in bfloat16; not measured yet:
python -m jaxalign.train --config=in.py
"""

from jaxalign import config as base_config


def get_config(variant: str = ""):
    config = base_config.base(variant)
    config.country = "IN"
    return config
