"""Evaluate a tuned prompt: baselines, unseen presentations, answers, respondents, CulturalBench.

    python -m jaxalign.evaluate --workdir=DIR [--culturalbench=SOURCE] [--siblings=DIR,DIR]
    python -m jaxalign.evaluate --config=NAME[:VARIANT] --prompt=PATH --workdir=DIR
    python -m jaxalign.evaluate --compare=DIR,DIR,… --output=DIR

An interrupted evaluation resumes with the next part. --show_prompt prints the first question as the
model sees it, and ends.
"""

import shlex

from absl import flags

from jaxalign import cli
from jaxalign.config import freeze, recorded
from jaxalign.errors import UserError
from jaxalign.evidence.runs import Options, evaluate, evaluate_run
from jaxalign.files import local_path, read_json
from jaxalign.interchange import read_soft_prompt
from jaxalign.run.heartbeat import require_free
from jaxalign.run.show_prompt import print_first_question

_CONFIG = cli.define_config()
_SHOW_PROMPT = cli.define_show_prompt()
flags.adopt_module_key_flags(cli)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a finished run.")
_PROMPT = flags.DEFINE_string(
    "prompt", None, "A soft prompt without a run; then --workdir is written to."
)
_CULTURALBENCH = flags.DEFINE_string(
    "culturalbench", None, "CulturalBench: a file or folder, REPO@COMMIT, `fixture`, or `none`."
)
_SIBLINGS = flags.DEFINE_list(
    "siblings", None, "Workdirs of other countries; left out, those beside the workdir."
)
_WORDINGS = flags.DEFINE_list("wordings", None, "Other wordings of the survey, as YAML files.")
_COMPARE = flags.DEFINE_list("compare", None, "Evaluated workdirs for one page on all of them.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder of that page.")
_SEED = flags.DEFINE_integer("seed", 0, "Of respondents, random prompts and resamples.", 0)


def main(typed: list[str]) -> None:
    """Run the command."""
    if _COMPARE.value:
        if not _OUTPUT.value:
            raise UserError("--output=DIR is missing: the folder that --compare writes to")
        # Loaded here, since a comparison needs nothing else of what is imported with it.
        from jaxalign.report.evidence import write_comparison_report

        output = local_path(_OUTPUT.value, "--output")
        runs = [local_path(each, "--compare") for each in _COMPARE.value]
        write_comparison_report(runs, output)
        print(f"wrote {output / 'index.html'}")
        return
    if not _WORKDIR.value:
        raise UserError("--workdir=DIR is missing, such as --workdir=runs/sa-embedded")
    again = f"python -m jaxalign.evaluate {shlex.join(typed)}"
    options = Options(_CULTURALBENCH.value, _SIBLINGS.value, _WORDINGS.value, _SEED.value)
    workdir = local_path(_WORKDIR.value, "--workdir")
    if _SHOW_PROMPT.value:
        if _CONFIG.value is not None:
            return print_first_question(freeze(_CONFIG.value))
        record = workdir / "config.json"
        return print_first_question(recorded(read_json(record), record))
    require_free(workdir, "--workdir")  # also the one above the folders of several countries
    if _PROMPT.value:
        if _CONFIG.value is None:
            raise UserError("--config=NAME[:VARIANT] is missing: it says what --prompt is asked")
        if (workdir / "config.json").exists():
            raise UserError(
                f"--workdir={workdir} is a run, which has a prompt of its own: give --prompt "
                "another folder to write to"
            )
        settings = freeze(_CONFIG.value)
        prompt_LD = read_soft_prompt(_PROMPT.value, "--prompt", model=settings.model.path)
        evaluate(settings, prompt_LD, workdir, options, again)
        return
    folders = sorted(workdir.glob("countries/*/summary.json"))
    if not folders:
        evaluate_run(workdir, options, again)
        return
    for file in folders:
        evaluate_run(file.parent, options, again)
    from jaxalign.report.evidence import write_comparison_report

    write_comparison_report([file.parent for file in folders], workdir / "evaluation")
    print(f"all of them: {workdir / 'evaluation' / 'index.html'}")


if __name__ == "__main__":
    cli.run(main, needs_config=False)
