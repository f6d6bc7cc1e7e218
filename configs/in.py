"""Tunes a soft prompt towards India (hofstede2010, C = 50).

python -m jaxalign.train --config=in.py:embedded
2 CPU cores, under a minute: L1 loss from 80.6 to 4.1 (a synthetic model: no finding)
python -m jaxalign.train --config=in.py
Llama-3-8B-Instruct in bfloat16 on one accelerator with more than 16 GB: not measured yet
"""

from jaxalign import config as base_config


def get_config(variant: str = ""):
    config = base_config.base(variant)
    config.country = "IN"
    return config
