"""Tunes a soft prompt towards China (hofstede2010, C = 50).

python -m jaxalign.train --config=cn.py:embedded
2 CPU cores, under a minute: L1 loss from 169.6 to 1.3 (a synthetic model: no finding)
python -m jaxalign.train --config=cn.py
Llama-3-8B-Instruct in bfloat16 on one accelerator with more than 16 GB: not measured yet
"""

from jaxalign import config as base_config


def get_config(variant: str = ""):
    config = base_config.base(variant)
    config.country = "CN"
    return config
