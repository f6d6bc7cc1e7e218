"""A tuned prompt and its results, read from the workdir of a finished run."""

import dataclasses
import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np

from jaxalign.errors import UserError
from jaxalign.files import read_json
from jaxalign.interchange.reading import RESULT, read_soft_prompt
from jaxalign.report.answers import read_answers
from jaxalign.report.numbers import baseline_name, loss_unit, score_digits
from jaxalign.survey import Instrument, load_instrument

_LOG = logging.getLogger(__name__)
_SUMMARY, _RECORD, _EVALUATION = "summary.json", "config.json", "evaluation.json"


@dataclasses.dataclass(frozen=True, eq=False)
class TunedPrompt:
    """What a run found for one country.

    Attributes:
      prompt_LD: float32 [L, D].
      code, country: whose scores were searched for.
      notice: what every output must say, or None.
      instrument: the survey.
      model, revision, chat_template: as the run's config has them.
      losses: without meaning (`baseline` says whose), naive and best, as constant, naive and best;
        None where one is not finite. unit: what they are.
      columns, rows: a table of the scores, or of each item's distance where no scores are taken.
      digits: after the decimal point, in that table.
      target_source: where the target is from.
      constant: C of each dimension; empty where there is none.
      formats: in which the survey was asked.
      draws: fresh samples that the tuned loss is the mean of; 0 where nothing is sampled.
      search: what was done at what cost, name to words.
      command: that was run.
      digests: of weights and survey, as the run had them.
      verdict: sentences of an evaluation; None where there was none.
    """

    prompt_LD: np.ndarray
    code: str
    country: str
    notice: str | None
    instrument: Instrument
    model: str
    revision: str | None
    chat_template: str
    losses: dict[str, float | None]
    baseline: str
    unit: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]
    digits: int
    target_source: str
    constant: tuple[float, ...]
    formats: tuple[str, ...]
    draws: int
    search: dict[str, str]
    command: str
    digests: dict[str, str]
    verdict: tuple[str, ...] | None


def countries_of(workdir: Path) -> list[str]:
    """Codes of the countries of a run for several; none for a run for one.

    Raises:
      UserError: the workdir has no readable summary.json.
    """
    country = read_json(workdir / _SUMMARY).get("country")
    return [str(code) for code in country] if isinstance(country, list) else []


def read_tuned(folder: Path) -> TunedPrompt:
    """Read the workdir of a finished run for one country, or one of its `countries/CODE`.

    Raises:
      UserError: a file is missing, unreadable or not as a run leaves it.
    """
    summary, record = read_json(folder / _SUMMARY), read_json(folder / _RECORD)
    evaluation = None
    if (folder / _EVALUATION).exists():
        evaluation = read_json(folder / _EVALUATION)
    prompt_LD = read_soft_prompt(folder / RESULT)
    try:
        config = record["config"]
        instrument_name = str(config["survey"]["instrument"])
        tuned = {
            "code": str(summary["country"]),
            "country": str(summary["country_name"]),
            "notice": summary["notice"],
            "model": str(config["model"]["path"]),
            "revision": config["model"]["revision"] or None,
            "chat_template": str(config["model"].get("chat_template", "")),
            "losses": {k: _number(summary["loss"][k]) for k in ("constant", "naive", "best")},
            "baseline": baseline_name(summary),
            "unit": loss_unit(summary),
            **_table(summary),
            "digits": score_digits(summary),
            "target_source": str(summary["target_source"]),
            "constant": tuple(float(value) for value in summary["constant"] or ()),
            "formats": tuple(map(str, summary["formats"])),
            "draws": int(summary.get("rescored", {}).get("draws", 0)),
            "search": {
                "strategy": str(summary["strategy"]),
                "objective": _objective(summary),
                "generations": f"{int(summary['generations']):,}",
                "evaluations": f"{int(summary['evaluations']):,} soft prompts",
                "seed": str(config["seed"]),
                "readout": str(summary["readout"]),
                "formats": ", ".join(map(str, summary["formats"])),
                "hardware": str(summary["hardware"]),
                "jaxalign": str(record["versions"]["jaxalign"]),
            },
            "command": str(record["command"]),
            "digests": {k: str(record["digests"][k]) for k in ("weights", "survey")},
            "verdict": _verdict(folder, evaluation, prompt_LD),
        }
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        names = ", ".join((_SUMMARY, _RECORD) + (_EVALUATION,) * (evaluation is not None))
        raise UserError(
            f"{folder}: {names} are not as a run leaves them ({type(error).__name__}: {error}); "
            "run the command of this workdir again"
        ) from error
    return TunedPrompt(prompt_LD, instrument=load_instrument(instrument_name), **tuned)


def _table(summary: dict[str, Any]) -> dict[str, Any]:
    """Return the results by dimension, or by item where answers are compared."""
    if answers := read_answers(summary):
        kinds = ("constant", "naive", "best")
        return {
            "columns": ("distance, %", baseline_name(summary), "naive", "tuned"),
            "rows": tuple(
                (item.text, tuple(_number(item.distance[kind]) for kind in kinds))
                for item in answers
            ),
        }
    scores = [summary[name] for name in ("target", "naive_scores", "scores")]
    return {
        "columns": ("score", "target", "naive", "tuned"),
        "rows": tuple(
            (str(name), tuple(_number(each[key]) for each in scores))
            for key, name in summary["dimension_names"].items()
        ),
    }


def _verdict(
    folder: Path, evaluation: dict[str, Any] | None, prompt_LD: np.ndarray
) -> tuple[str, ...] | None:
    """Return the sentences of an evaluation of this prompt; None where there is none."""
    if evaluation is None:
        return None
    verdict = evaluation["verdict"]
    if not isinstance(verdict, list) or not all(isinstance(line, str) for line in verdict):
        raise TypeError("verdict is not a list of sentences")
    digest = hashlib.sha256(prompt_LD.tobytes()).hexdigest()
    if evaluation.get("prompt_sha256", digest) != digest:
        _LOG.warning(
            "%s is of another prompt and is left out; evaluate again to have it in the card",
            folder / _EVALUATION,
        )
        return None
    return tuple(verdict)


def _objective(summary: dict[str, Any]) -> str:
    """Return the terms of the loss, such as `survey + 2 prompt_norm`."""
    weights = {name: float(weight) for name, weight in summary["terms"]["weights"].items()}
    return " + ".join(
        name if weight == 1 else f"{weight:g} {name}" for name, weight in weights.items() if weight
    )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
