"""Compare search methods at equal evaluations.

    python -m jaxalign.compare --config=NAME[:VARIANT] [--methods=all] [--countries=sa,us]
        [--seeds=3] [--evaluations=2000] [--model=SHAPE] [--output=DIR] [--config.KEY=VALUE …]

Every method searches for every country from every seed. Methods are those of configs/methods.yaml,
some of their labels with commas between, or a YAML file of your own. The same command on the same
folder resumes where the last one stopped; with other methods it adds to what is there. --model
takes random weights of a shape, drawn from the config's seed.
"""

from absl import flags

from jaxalign import cli
from jaxalign.compare.comparison import compare
from jaxalign.compare.methods import load_methods
from jaxalign.config import freeze
from jaxalign.files import local_path
from jaxalign.run.random_weights import SHAPES

_CONFIG = cli.define_config()
flags.adopt_module_key_flags(cli)
_METHODS = flags.DEFINE_string("methods", "all", "all, labels with commas, or a .yaml file.")
_COUNTRIES = flags.DEFINE_string("countries", None, "With commas; the config's if left out.")
_SEEDS = flags.DEFINE_integer("seeds", 3, "How many, from the config's on.", lower_bound=1)
_EVALUATIONS = flags.DEFINE_integer("evaluations", 2000, "Of each search.", lower_bound=1)
_MODEL = flags.DEFINE_enum(
    "model", None, list(SHAPES), "Random weights of a shape; the config's own model if left out."
)
_OUTPUT = flags.DEFINE_string("output", "comparison", "Folder for histories, tables and plots.")


def main(_: list[str]) -> None:
    """Run the command."""
    config = _CONFIG.value
    if _COUNTRIES.value:
        config.country = _COUNTRIES.value
    compare(
        freeze(config),
        load_methods(_METHODS.value),
        range(config.seed, config.seed + _SEEDS.value),
        _EVALUATIONS.value,
        local_path(_OUTPUT.value, "--output"),
        _MODEL.value,
    )


if __name__ == "__main__":
    cli.run(main)
