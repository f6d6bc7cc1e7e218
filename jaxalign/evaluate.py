"""Says what a tuned prompt is worth: baselines, other formats, answers, respondents, CulturalBench.

    python -m jaxalign.evaluate --workdir=DIR [--benchmark=SOURCE] [--siblings=DIR,DIR]
    python -m jaxalign.evaluate --config=NAME[:VARIANT] --prompt=PATH --workdir=DIR
    python -m jaxalign.evaluate --compare=DIR,DIR,… --output=DIR

Parts that an earlier call has finished are not done again.
"""

import datetime
import hashlib
import logging
import os
import shlex
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from ml_collections import config_dict

from jaxalign import command
from jaxalign.config import EMBEDDED, from_plain, to_plain, validate
from jaxalign.errors import UserError
from jaxalign.evidence.evaluation import SCHEMA, Evidence, evaluate_prompt
from jaxalign.evidence.siblings import find_siblings
from jaxalign.interchange.reading import RESULT, read_soft_prompt
from jaxalign.problem import load_problem
from jaxalign.record import make_run_record
from jaxalign.report import print_header
from jaxalign.report.files import read_run, write_json
from jaxalign.survey import Instrument, load_benchmarks, load_instrument

_CONFIG = command.define_config()
flags.adopt_module_key_flags(command)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a finished run.")
_PROMPT = flags.DEFINE_string("prompt", None, "A soft prompt to evaluate in place of a run's own.")
_BENCHMARK = flags.DEFINE_string(
    "benchmark", None, "CulturalBench: a file or folder, REPO@COMMIT, `fixture`, or `none`."
)
_SIBLINGS = flags.DEFINE_list(
    "siblings", None, "Workdirs of other countries; left out, those beside the workdir."
)
_WORDINGS = flags.DEFINE_list("wordings", None, "Other wordings of the survey, as YAML files.")
_COMPARE = flags.DEFINE_list("compare", None, "Evaluated workdirs for one page on all of them.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder of that page.")
_SEED = flags.DEFINE_integer("seed", 0, "Of respondents, random prompts and resamples.", 0)

_SECOND = {"vsm13": ["vsm13-second"]}  # other wordings that come with the package
_FIXTURE = "fixture"


def main(typed: list[str]) -> None:
    """The command."""
    if _COMPARE.value:
        if not _OUTPUT.value:
            raise UserError("--output=DIR is missing: the folder that --compare writes to")
        # Loaded here, since a comparison needs nothing else of what is imported with it.
        from jaxalign.report.evidence import write_comparison_report

        output = _path(_OUTPUT.value)
        write_comparison_report([_path(each) for each in _COMPARE.value], output)
        print(f"wrote {output / 'index.html'}")
        return
    if not _WORKDIR.value:
        raise UserError("--workdir=DIR is missing, such as --workdir=runs/sa-embedded")
    again = f"python -m jaxalign.evaluate {shlex.join(typed)}"
    workdir = _path(_WORKDIR.value)
    if _PROMPT.value:
        if _CONFIG.value is None:
            raise UserError("--config=NAME[:VARIANT] is missing: it says what --prompt is asked")
        validate(_CONFIG.value)
        config = from_plain(to_plain(_CONFIG.value))
        evaluate(config, read_soft_prompt(_PROMPT.value, "--prompt"), workdir, again)
        return
    folders = sorted(workdir.glob("countries/*/summary.json"))
    if not folders:
        evaluate_run(workdir, again)
        return
    for file in folders:
        evaluate_run(file.parent, again)
    from jaxalign.report.evidence import write_comparison_report

    write_comparison_report([file.parent for file in folders], workdir / "evaluation")
    print(f"all of them: {workdir / 'evaluation' / 'index.html'}")


def evaluate_run(workdir: Path, again: str = "") -> dict[str, Any]:
    """Evaluates what a finished run for one country left; gives the content of evaluation.json.

    Raises:
      UserError: the run is not finished, or its model or survey has changed since.
    """
    run = read_run(workdir)
    config = from_plain(run.config["config"])
    config.country = run.summary["country"]
    prompt_LD = read_soft_prompt(workdir / RESULT)
    return evaluate(config, prompt_LD, workdir, again, run.config["digests"])


def evaluate(
    config: config_dict.ConfigDict,
    prompt_LD: np.ndarray,
    workdir: Path,
    again: str = "",
    digests: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Evaluates a prompt; writes evaluation.json and the report into a folder.

    The model is asked in full precision, and the loss is that of the survey alone.

    Args:
      config: of the run; its country is one.
      prompt_LD: the tuned prompt.
      workdir: of the run, or where to write.
      again: the command.
      digests: of the run, to be sure that the model and the survey are what they were.

    Raises:
      UserError: from any part.
    """
    wordings = _load_wordings(config)
    source = _BENCHMARK.value or (_FIXTURE if config.model.path == EMBEDDED else "none")
    easy, hard = (None, None) if source == "none" else load_benchmarks(source, "--benchmark")
    config.model.quantization = "none"
    config.objective.benchmark = ""
    for name in config.objective.terms:
        config.objective.terms[name] = float(name == "survey")
    config.prompt.length = prompt_LD.shape[0]
    problem = load_problem(config)
    now = problem.digests()
    for name in ("weights", "architecture", "survey"):
        if digests and digests.get(name) != now[name]:
            raise UserError(
                f"workdir={workdir}: the {name} changed since the run; give it the old one back, "
                "or tune again"
            )
    if prompt_LD.shape[1] != problem.model_config.width:
        raise UserError(
            f"the soft prompt has rows of {prompt_LD.shape[1]}, the model's width is "
            f"{problem.model_config.width}: it was tuned for another model"
        )
    siblings = find_siblings(workdir, _SIBLINGS.value, prompt_LD.shape, now)
    evidence = Evidence(config, problem, prompt_LD, siblings, wordings, easy, hard, _SEED.value)
    record = make_run_record(to_plain(config), {}, now, again, problem.notice)
    inputs = {
        "schema": SCHEMA,
        "config": {key: record["config"][key] for key in ("survey", "prompt", "objective")},
        "digests": now,
        "versions": record["versions"],
        "seed": _SEED.value,
        "prompt": _digest(prompt_LD),
        "siblings": {str(each.folder): _digest(each.prompt_LD) for each in siblings},
        "wordings": [repr(each) for each in wordings],
        "benchmark": [repr(each) for each in (easy, hard)],
    }
    print_header({"evaluates": str(workdir), "country": problem.targets[0].country}, problem.notice)
    found = evaluate_prompt(evidence, workdir / "evaluation", inputs, _tell)
    target, instrument = problem.targets[0], problem.instrument
    evaluation = {
        "schema": SCHEMA,
        "country": target.code,
        "country_name": target.country,
        "model": config.model.path,
        "notice": problem.notice,
        "command": again,
        "date": datetime.date.today().isoformat(),
        "hardware": record["device"],
        "versions": record["versions"],
        "git_revision": record["git_revision"],
        "survey": {
            "name": instrument.name,
            "title": instrument.title,
            "validated": instrument.validated,
            "items": len(instrument.items),
            "constant": np.asarray(getattr(problem.scoring, "constant_C", ())).tolist(),
            "norm": config.objective.norm,
            "targets": config.survey.targets,
            "target_source": f"{target.source} ({target.year})",
        },
        "dimensions": instrument.dimensions,
        "target": target.scores,
        "prompt_sha256": inputs["prompt"],
        **found,
    }
    write_json(workdir / "evaluation.json", evaluation)
    # Loaded here, since matplotlib takes 0.4 s, which a mistake need not wait for.
    from jaxalign.report.evidence import print_evaluation, write_evaluation_report

    files = [(str(workdir / "evaluation.json"), "all numbers")]
    if (workdir / "summary.json").exists():
        write_evaluation_report(workdir)
        files.insert(0, (str(workdir / "report" / "index.html"), "the report"))
    print_evaluation(evaluation, files)
    return evaluation


def _load_wordings(config: config_dict.ConfigDict) -> list[Instrument]:
    own = load_instrument(config.survey.instrument)
    names = _WORDINGS.value or _SECOND.get(config.survey.instrument, [])
    others = [load_instrument(name) for name in names]
    for name, other in zip(names, others, strict=True):
        if _form(other) != _form(own):
            raise UserError(
                f"--wordings={name}: its items are not those of {own.name}; another wording has "
                "the same ids in the same order, with as many options"
            )
    return others


def _form(instrument: Instrument) -> list[tuple[str, int]]:
    return [(item.id, len(item.options)) for item in instrument.items]


def _path(typed: str) -> Path:
    return Path(os.path.expanduser(typed))


def _digest(prompt_LD: np.ndarray) -> str:
    return hashlib.sha256(prompt_LD.tobytes()).hexdigest()


def _tell(part: str, seconds: float | None) -> None:
    took = "kept from before" if seconds is None else f"{seconds:.1f} s"
    print(f"  {part:<14} {took}", flush=True)


if __name__ == "__main__":
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    command.run(main, needs_config=False)
