"""Export a tuned prompt to other tools.

    python -m jaxalign.export --workdir=DIR --format=peft|prompt_embeds|npy --output=DIR2

peft is an adapter folder that peft.PeftModel.from_pretrained loads; prompt_embeds, for engines that
take embeddings, the soft prompt and each question as one tensor; npy the rows as a numpy array. A
model card comes with each. A multi-country run is exported to DIR2/CODE. All is written or nothing,
and never over anything but an earlier export.
"""

from absl import flags

from jaxalign import cli
from jaxalign.errors import UserError
from jaxalign.files import local_path
from jaxalign.interchange import WRITERS, export
from jaxalign.report import print_header
from jaxalign.report.numbers import format_loss

_WORKDIR = flags.DEFINE_string("workdir", "", "Folder of a finished run.")
_FORMAT = flags.DEFINE_enum("format", "peft", list(WRITERS), "What to write.")
_OUTPUT = flags.DEFINE_string("output", "", "Folder to write; it may hold an earlier export.")
flags.adopt_module_key_flags(cli)


def main(_: list[str]) -> None:
    """Run the command."""
    for flag, example in ((_WORKDIR, "runs/sa-embedded"), (_OUTPUT, "exports/sa")):
        if not flag.value:
            raise UserError(f"--{flag.name}=DIR is missing, such as --{flag.name}={example}")
    workdir, output = (local_path(flag.value, f"--{flag.name}") for flag in (_WORKDIR, _OUTPUT))
    prompts, names = export(workdir, _FORMAT.value, output)
    rows = {
        tuned.country: f"{' x '.join(map(str, tuned.prompt_LD.shape))}, loss "
        f"{format_loss(tuned.losses['best'])}, naive {format_loss(tuned.losses['naive'])}"
        for tuned in prompts
    }
    print_header(rows | {_FORMAT.value: f"{output}: {', '.join(names)}"}, prompts[0].notice)


if __name__ == "__main__":
    cli.run(main)
