"""A config to copy.

    cp configs/template.py mine.py
    python -m jaxalign.train --config=mine.py:embedded

Here stands what people usually change; everything else keeps the base's value (jaxalign/config.py
explains each key). Any key can also be set on the command line: --config.search.population=64.
"""

from jaxalign import config as base_config


def get_config(variant: str = ""):
    config = base_config.base(variant)

    # Whose values. Countries and their scores: jaxalign/survey/data/targets.csv.
    config.country = "DE"  # several, such as "DE,JP", share every evaluation
    config.survey.targets = "hofstede2010"  # or "newer", or your own .csv
    config.survey.constant = ""  # C of the formulas, 50 for vsm13; moves every loss, so say which

    # Which survey. Your own YAML, in any language, has the form of jaxalign/survey/data/vsm13.yaml,
    # example_values.yaml or example_opinions.yaml.
    config.survey.instrument = "vsm13"

    # Which model: a folder with safetensors, a hub id, or "embedded".
    # config.model.path = "meta-llama/Llama-3.2-1B-Instruct"

    # How long and how wide to search; the cost is population × generations.
    config.search.population = 16
    config.search.generations = 80
    config.search.strategy = "GaussNewton"  # or "LSHADE", "SNES", … (docs/strategies.md)
    config.search.strategy_params = {}  # such as {"best_share": 0.2}; a wrong one lists them
    return config
