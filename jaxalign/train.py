"""Tune a soft prompt.

    python -m jaxalign.train --config=NAME[:VARIANT] [--workdir=DIR] [--config.KEY=VALUE …]
        [--profile=START:STOP] [--wandb=PROJECT] [--show_prompt]

The same command on the same workdir resumes where the last one stopped. With --distributed this is
one of several processes that run together, which all get the same command. --show_prompt prints the
first question as the model sees it, and ends.
"""

import functools
import shlex
import sys
from pathlib import Path

from absl import flags
from rich.console import Console

from jaxalign.devices import distributed

if __name__ == "__main__":  # before the imports below, some of which touch the devices
    distributed.join(sys.argv[1:])

from jaxalign import cli
from jaxalign.config import freeze
from jaxalign.devices.profiling import Profile, parse_bounds
from jaxalign.files import local_path
from jaxalign.report import Progress
from jaxalign.run.show_prompt import print_first_question
from jaxalign.run.startup import StartUp
from jaxalign.run.trackers import WandB, import_wandb
from jaxalign.run.tune import tune
from jaxalign.settings import country_names

_CONFIG = cli.define_config()
_SHOW_PROMPT = cli.define_show_prompt()
flags.adopt_module_key_flags(cli)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; overrides config.workdir.")
_PROFILE = flags.DEFINE_string(
    "profile", None, "START:STOP, the generations whose steps are traced, to WORKDIR/profile."
)
_WANDB = flags.DEFINE_string("wandb", None, "Project of Weights & Biases that shows the run too.")
flags.DEFINE_bool(
    distributed.FLAG,
    None,
    "Whether this is one of several processes of one run; left out, it is under SLURM and on a TPU "
    "slice. Elsewhere set JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID.",
)


def main(typed: list[str]) -> None:
    """Run the command; `typed` are its arguments."""
    startup = StartUp(of_command=True)
    settings = freeze(_CONFIG.value)
    if _SHOW_PROMPT.value:
        return print_first_question(settings)
    model = Path(settings.model.path).name.lower().removesuffix(".gguf")
    default = f"runs/{'-'.join(country_names(settings.country)).lower()}-{model}"
    path = local_path(_WORKDIR.value or settings.workdir or default, "--workdir")
    bounds = parse_bounds(_PROFILE.value, settings.search.generations)
    if _WANDB.value:
        import_wandb()
    arguments = cli.without_flag(typed, "workdir")
    is_first = distributed.is_first()
    with distributed.exit_on_peer_failure():
        tune(
            settings,
            path,
            again=shlex.join(["-m", "jaxalign.train", *arguments, f"--workdir={path}"]),
            startup=startup,
            progress=functools.partial(Progress, console=None if is_first else Console(quiet=True)),
            profile=Profile(bounds if is_first else None, path / "profile"),
            trackers=[functools.partial(WandB, _WANDB.value)] if _WANDB.value else [],
        )


if __name__ == "__main__":
    cli.run(main)
