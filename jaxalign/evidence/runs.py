"""Evaluation of finished runs and of bare prompts: from files to evaluation.json and the report."""

import dataclasses
import datetime
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from jaxalign.config import recorded, to_plain, with_keys
from jaxalign.errors import UserError
from jaxalign.evidence.evaluation import Evidence, evaluate_prompt
from jaxalign.evidence.siblings import find_siblings
from jaxalign.files import read_run
from jaxalign.interchange.reading import RESULT, read_soft_prompt
from jaxalign.model import read_stop_ids, resolve
from jaxalign.problem import load_problem
from jaxalign.report import print_header
from jaxalign.run.heartbeat import hold, require_free
from jaxalign.run.provenance import make_run_record
from jaxalign.settings import EMBEDDED, Settings, TermSettings
from jaxalign.survey import Instrument, load_instrument, load_quizzes

if TYPE_CHECKING:
    from jaxalign.report.evidence.record import Evaluation

_FIXTURE = "fixture"


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of an evaluation.

    Attributes:
      culturalbench: source, as the flag takes it; None for the fixture where the model is the
        embedded one, and for nothing otherwise.
      siblings: workdirs of other countries; None for those beside the workdir.
      wordings: of the survey beside the packaged ones, as YAML files.
      seed: of respondents, random prompts, demonstrations and resamples.
    """

    culturalbench: str | None = None
    siblings: list[str] | None = None
    wordings: list[str] | None = None
    seed: int = 0


def evaluate_run(workdir: Path, options: Options, again: str = "") -> "Evaluation":
    """Evaluate a finished run for one country; return the content of evaluation.json.

    Raises:
      UserError: the run is not finished, or its model or survey has changed since.
    """
    run = read_run(workdir)
    settings = recorded(run.config, workdir / "config.json")
    settings = with_keys(settings, {"country": run.summary["country"]})
    prompt_LD = read_soft_prompt(workdir / RESULT)
    return evaluate(settings, prompt_LD, workdir, options, again, run.config["digests"])


def evaluate(
    settings: Settings,
    prompt_LD: np.ndarray,
    workdir: Path,
    options: Options,
    again: str = "",
    digests: dict[str, str] | None = None,
) -> "Evaluation":
    """Evaluate a prompt; write evaluation.json and the report, and return the former.

    The model is asked in full precision, and the loss is that of the survey alone.

    Args:
      settings: of the run; its country is one.
      prompt_LD: the tuned prompt.
      workdir: of the run, or where to write.
      options: see `Options`.
      again: the command.
      digests: of the run, to be sure that the model and the survey are what they were.

    Raises:
      UserError: from any part.
    """
    for folder in (workdir, workdir / "evaluation"):
        require_free(folder, "--workdir")
    wordings = _load_wordings(settings, options)
    source = options.culturalbench or (_FIXTURE if settings.model.path == EMBEDDED else "none")
    easy, hard = (None, None) if source == "none" else load_quizzes(source, "--culturalbench")
    settings = with_keys(
        settings,
        {
            "model.quantization": "none",
            "objective.culturalbench": "",
            "objective.at_a_time": 0,
            "objective.terms": dataclasses.asdict(TermSettings()),
            "prompt.length": prompt_LD.shape[0],
        },
    )
    read_stop_ids(resolve(settings.model.path, settings.model.revision))  # what answers end with
    problem = load_problem(settings)
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
    # Loaded here, since matplotlib takes 0.4 s, which a mistake need not wait for.
    from jaxalign.report.evidence import print_evaluation, write_evaluation_report
    from jaxalign.report.evidence.evaluation_file import read_evaluation, write_evaluation
    from jaxalign.report.evidence.record import VERSION, Evaluation

    siblings = find_siblings(workdir, options.siblings, prompt_LD.shape, now)
    evidence = Evidence(settings, problem, prompt_LD, siblings, wordings, easy, hard, options.seed)
    record = make_run_record(to_plain(settings), {}, now, again, problem.notice)
    inputs = {
        "schema": VERSION,
        "config": {key: record["config"][key] for key in ("survey", "prompt", "objective")},
        "digests": now,
        "versions": record["versions"],
        "seed": options.seed,
        "prompt": _digest(prompt_LD),
        "siblings": {str(each.folder): _digest(each.prompt_LD) for each in siblings},
        "wordings": [repr(each) for each in wordings],
        "culturalbench": [repr(each) for each in (easy, hard)],
    }
    print_header({"evaluates": str(workdir), "country": problem.targets[0].country}, problem.notice)
    # Not the workdir: a finished run whose folder is held is shown by status as one that goes on.
    with hold(workdir / "evaluation", "--workdir"):
        found = evaluate_prompt(evidence, workdir / "evaluation", inputs, _print_part)
    target, instrument = problem.targets[0], problem.instrument
    content = {
        "prompt_sha256": inputs["prompt"],
        "country": target.code,
        "country_name": target.country,
        "model": settings.model.path,
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
            "norm": settings.objective.norm,
            "targets": settings.survey.targets,
            "target_source": f"{target.source} ({target.year})",
        },
        "dimensions": instrument.dimensions,
        "target": target.scores,
        **found,
    }
    evaluation = msgspec.convert(content, Evaluation)
    write_evaluation(workdir, evaluation)
    write_evaluation_report(workdir)
    page, numbers = workdir / "report" / "index.html", workdir / "evaluation.json"
    files = [(str(page), "the report"), (str(numbers), "all numbers")]
    print_evaluation(read_evaluation(workdir), files)
    return evaluation


def _load_wordings(settings: Settings, options: Options) -> list[Instrument]:
    own = load_instrument(settings.survey.instrument)
    names = options.wordings or []
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


def _digest(prompt_LD: np.ndarray) -> str:
    return hashlib.sha256(prompt_LD.tobytes()).hexdigest()


def _print_part(part: str, told: float | str | None) -> None:
    took = "kept from before" if told is None else told
    took = f"{took:.1f} s" if isinstance(took, float) else took
    print(f"  {part:<14} {took}", flush=True)
