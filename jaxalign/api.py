"""The Python API: tune a soft prompt, ask a model, evaluate a result, open a finished run.

Everything heavy is imported when it is needed, so `import jaxalign` takes a fraction of a second.
"""

import dataclasses
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxalign.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jaxalign.report.evidence.record import Evaluation

__all__ = ["Answers", "Result", "ask", "load", "tune"]


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """A finished run.

    Attributes:
      path: its workdir.
      summary: the content of summary.json: losses, scores, cost, hardware.
      history: a record per generation, as in metrics.jsonl.
      prompt: the tuned soft prompt, float32 [L, D]; None in a multi-country run.
      countries: the result of each country by its code, in a multi-country run; else empty.
    """

    path: Path
    summary: dict[str, Any]
    history: Sequence[dict[str, Any]]
    prompt: np.ndarray | None
    countries: dict[str, "Result"] = dataclasses.field(default_factory=dict)

    @property
    def loss(self) -> float:
        """Loss of the tuned prompt, the mean over countries if there are several."""
        return self.summary["loss"]["best"]

    @property
    def scores(self) -> dict[str, float]:
        """Scores of the tuned prompt by dimension."""
        return self._own().summary["scores"]

    def plot(self) -> "Figure":
        """Return a figure of the losses over evaluations and of the scores, as in the report."""
        import matplotlib.image

        from jaxalign.report.drawing import NotebookFigure

        report = self.path / "report"
        stems = [
            stem
            for stem in ("convergence", "radar", "answers")
            if (report / f"{stem}.png").exists()
        ]
        images = [matplotlib.image.imread(report / f"{stem}.png") for stem in stems]
        ratios = [image.shape[1] / image.shape[0] for image in images]
        figure = NotebookFigure(figsize=(4 * sum(ratios), 4), layout="constrained")
        panels = figure.subplots(1, len(images), squeeze=False, width_ratios=ratios)
        for panel, image in zip(panels[0], images, strict=True):
            panel.imshow(image)
            panel.set_axis_off()
        return figure

    def evaluate(self, **options: Any) -> "Evaluation":
        """Compare the prompt with baselines and in unseen presentations, like jaxalign.evaluate.

        Args:
          **options: fields of `jaxalign.evidence.runs.Options`, such as `seed`.

        Returns:
          The content of evaluation.json, such as `.verdict` and `.methods`; the report in the
          workdir shows it.
        """
        from jaxalign.evidence.runs import Options, evaluate_run

        return evaluate_run(self._own().path, Options(**options))

    def _own(self) -> "Result":
        if self.countries:
            codes = ", ".join(self.countries)
            raise UserError(f"{self.path} is a run for {codes}: take result.countries[CODE]")
        return self


@dataclasses.dataclass(frozen=True)
class Answers:
    """What a model answers to a survey.

    Attributes:
      items: text of each item by its id.
      options: labels of the options of each item.
      probabilities: of the options of each item, summing to 1; the mean over the formats.
      scores: of each dimension, for surveys with dimensions.
    """

    items: dict[str, str]
    options: dict[str, tuple[str, ...]]
    probabilities: dict[str, tuple[float, ...]]
    scores: dict[str, float]

    def __getitem__(self, item: str) -> dict[str, float]:
        """Return the probability of each option of an item by its label."""
        return dict(zip(self.options[item], self.probabilities[item], strict=True))


def tune(
    country: str,
    *,
    model: str = "embedded",
    workdir: str | Path | None = None,
    seed: int = 0,
    generations: int | None = None,
    population: int | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Result:
    """Tune a soft prompt towards a country's scores; progress is printed.

    Args:
      country: code or name, such as "SA"; several with commas between share every evaluation.
      model: "embedded", a folder, one in a bucket (gs://), or a hub id.
      workdir: folder of the run, which is resumed if it was begun there; None for a temporary one,
        which lasts as long as the result.
      seed: decides everything that is drawn at random.
      generations: number of generations after the initial population; None for the default.
      population: candidates of each country in a generation; None for the default.
      settings: other config keys, such as {"prompt.length": 16}.

    Raises:
      UserError: a setting is wrong, or a file cannot be read or written.
      KeyboardInterrupt: the run was interrupted; it is saved in its workdir.
    """
    from jaxalign.config import base, freeze, with_keys
    from jaxalign.run.tune import tune as run

    keys = {
        "country": country,
        "model.path": model,
        "seed": seed,
        "search.generations": generations,
        "search.population": population,
        **(settings or {}),
    }
    config = base("embedded" if model == "embedded" else "")
    config.country = country
    resolved = with_keys(freeze(config), {k: v for k, v in keys.items() if v is not None})
    path = Path(workdir or tempfile.mkdtemp(prefix="jaxalign-")).expanduser()
    if run(resolved, path) is None:
        raise KeyboardInterrupt(f"{path} is saved; the same call with this workdir resumes it")
    result = load(path)
    if not workdir:
        weakref.finalize(result, shutil.rmtree, path, ignore_errors=True)
    return result


def load(workdir: str | Path) -> Result:
    """Open a finished run.

    Raises:
      UserError: a file of the run is missing or damaged.
    """
    from jaxalign.files import read_run
    from jaxalign.interchange import read_soft_prompt

    path = Path(workdir).expanduser()
    run = read_run(path, needed=("country", "loss"))
    codes = run.summary.get("countries", ())
    countries = {code: load(path / "countries" / code) for code in codes}
    prompt = None if countries else read_soft_prompt(path / "soft_prompt.safetensors")
    return Result(path, run.summary, run.records, prompt, countries)


def ask(
    model: str = "embedded",
    *,
    prompt: np.ndarray | None = None,
    survey: str = "vsm13",
    formats: str = "identity",
    dtype: str = "float32",
    chat_template: str = "",
) -> Answers:
    """Ask a model every item of a survey and return the probabilities of its options.

    Args:
      model: "embedded", a folder, one in a bucket (gs://), a .gguf file, or a hub id.
      prompt: a soft prompt [L, D] in front of every question; None for the model as it is.
      survey: name of a packaged survey, or the path of a YAML file.
      formats: orders and labels of the options, with commas between; see `objective.formats`.
      dtype: "float32" or "bfloat16", of weights and activations.
      chat_template: a file of Jinja, or one of the names; see `model.chat_template`.

    Raises:
      UserError: the survey cannot be asked of this model, or the prompt is not of its width.
    """
    import jax
    from flax import nnx

    from jaxalign.fitness.readout import answer_logits
    from jaxalign.model import load_model, on_disk, read_config, resolve, sharding_over
    from jaxalign.objective import by_format, make_task
    from jaxalign.problem import check_positions, check_tokens
    from jaxalign.prompts import build_questions, load_tokenizer, read_levels
    from jaxalign.settings import format_names
    from jaxalign.survey import ShareScoring, load_instrument, make_scoring, score_answers

    instrument = load_instrument(survey)
    scoring = make_scoring(instrument, None)
    folder = resolve(model, "")
    config = read_config(folder)
    with on_disk(folder) as here:
        tokenizer = load_tokenizer(here, chat_template)
    levels = read_levels(instrument, ["all"])
    shown = [levels.parse(name) for name in format_names(formats)]
    questions = build_questions(instrument, tokenizer, presentations=shown)
    prompt_LD = np.zeros((0, config.width), np.float32) if prompt is None else np.asarray(prompt)
    if prompt_LD.ndim != 2 or prompt_LD.shape[1] != config.width:
        raise UserError(f"prompt has shape {prompt_LD.shape}; {model} takes [L, {config.width}]")
    check_positions(config, questions, len(prompt_LD))
    check_tokens(config, tokenizer)
    graphdef, weights, _ = load_model(folder, dtype, sharding_over(None))
    layout = make_task(questions, scoring, np.zeros((1, len(instrument.dimensions)))).layout

    @jax.jit
    def answer(weights: Any, layout: Any, prompt_LD: jax.Array) -> jax.Array:
        logits_QA = answer_logits(nnx.merge(graphdef, weights), layout, prompt_LD)
        return jax.nn.softmax(logits_QA, axis=-1)

    answers_FIA = by_format(scoring, answer(weights, layout, prompt_LD)[None])
    scores_C = np.asarray(score_answers(scoring, answers_FIA).mean(axis=1)[0])
    named = {} if isinstance(scoring, ShareScoring) else instrument.dimensions
    means_IA = np.asarray(answers_FIA[0].mean(axis=0))
    return Answers(
        items={item.id: item.text for item in instrument.items},
        options={item.id: tuple(item.options) for item in instrument.items},
        probabilities={
            item.id: tuple(map(float, row[: len(item.options)]))
            for item, row in zip(instrument.items, means_IA, strict=True)
        },
        scores=dict(zip(named, map(float, scores_C), strict=bool(named))),
    )
