"""From a config to what a command works on: survey, targets, model, questions."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from jaxalign.devices.mesh import choose_mesh, copy_everywhere
from jaxalign.errors import UserError
from jaxalign.fitness import Evaluator, Execution
from jaxalign.model import (
    NO_QUANTIZATION,
    DecoderConfig,
    abstract_model,
    check_attention,
    input_embeddings,
    load_model,
    on_disk,
    parameter_bytes,
    quantize,
    read_config,
    read_notice,
    resolve,
    sharding_over,
    split_sizes,
    weights_digest,
)
from jaxalign.objective import (
    Objective,
    Task,
    check_objective,
    load_culturalbench,
    make_objective,
    make_task,
    make_turns,
)
from jaxalign.prompts import (
    Questions,
    Sets,
    build_questions,
    find_sets,
    load_texts,
    load_tokenizer,
    read_levels,
)
from jaxalign.search import check_strategy, mean_norm
from jaxalign.settings import (
    Settings,
    country_names,
    format_names,
    language_names,
)
from jaxalign.survey import (
    Instrument,
    Scoring,
    ShareScoring,
    Target,
    choose_targets,
    instrument_digest,
    load_instrument,
    make_scoring,
    questions_for,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """A survey put to a model, and the scores it should give.

    Attributes:
      instrument, scoring: the survey and how it is scored.
      targets: the scores of each of the G countries.
      folder: of the model's files.
      notice: what every output of this model and this survey must say, or None.
      graphdef, weights, model_config: the model.
      tokenizer: the model's own.
      questions: survey and CulturalBench as tokens.
      sets: presentations of the survey to tune on, to choose by and to test on.
      task: the same with the targets, as arrays on the device.
      objective: how answers are read and compared.
      full_naive_QA: answers without a soft prompt before the weights were quantised; None where
        they are not.
      mesh: devices that the weights lie on; None for one device.
    """

    instrument: Instrument
    scoring: Scoring | ShareScoring
    targets: tuple[Target, ...]
    folder: Path | epath.Path
    notice: str | None
    graphdef: Any
    weights: Any
    model_config: DecoderConfig
    tokenizer: Any
    questions: Questions
    sets: Sets
    task: Task
    objective: Objective
    full_naive_QA: np.ndarray | None = None
    mesh: jax.sharding.Mesh | None = None

    @property
    def has_noisy_loss(self) -> bool:
        """Whether the same prompt may have another loss in another generation."""
        return self.objective.is_noisy or self.task.turns is not None

    @property
    def table_VD(self) -> jax.Array:
        """The input embedding of each of the model's tokens."""
        return input_embeddings(self.weights["embedding"][...], self.model_config)

    def evaluator(self, execution: Execution | None = None) -> Evaluator:
        """Return what evaluates soft prompts for this problem."""
        return Evaluator(self.graphdef, self.objective, execution or Execution())

    def digests(self) -> dict[str, str]:
        """Return SHA-256 of what decides the result besides the settings, by name."""
        trie, choosing = self.questions.trie, self.task.choosing
        parts = {
            "architecture": self.model_config.identity().encode(),
            "target": json.dumps(
                [(target.code, target.scores) for target in self.targets], sort_keys=True
            ).encode(),
            # Tokenizer and chat template, by what they made of the survey.
            "questions": b"".join(
                array.tobytes()
                for array in (
                    trie.tokens_T,
                    trie.parents_T,
                    self.questions.answer_ids_QA,
                    self.questions.right_B,
                    np.asarray(self.task.goal.asked_GB),
                    *(self.questions.longer or ()),
                    *([np.asarray(choosing.layout.tokens_T)] if choosing else ()),
                )
            ),
        }
        digests = {name: hashlib.sha256(part).hexdigest() for name, part in parts.items()}
        survey = {"survey": instrument_digest(self.instrument)}
        return {"weights": weights_digest(self.folder)} | survey | digests


def load_problem(settings: Settings) -> Problem:
    """Load everything, cheapest first, so that a mistake shows before the weights are read.

    Raises:
      UserError: from any part.
    """
    survey, model = settings.survey, settings.model
    instrument = load_instrument(survey.instrument)
    constant = None if isinstance(survey.constant, str) else survey.constant
    scoring = make_scoring(instrument, constant, survey.coefficients)
    targets = choose_targets(instrument, survey, country_names(settings.country))
    levels = read_levels(instrument, language_names(settings.objective.languages))
    sets = find_sets(levels, format_names(settings.objective.formats), settings.seed)
    culturalbench = load_culturalbench(settings.objective)
    own = [questions_for(culturalbench, each.country) for each in targets] if culturalbench else []
    asked = [question for questions in own for question in questions]
    load_texts(settings.prompt.texts)  # only to check it, and so is the strategy: see `initialize`
    check_objective(settings.objective, instrument, sets, check_strategy(settings.search))

    folder = resolve(model.path, model.revision)
    model_config = read_config(folder)
    with on_disk(folder) as here:
        tokenizer = load_tokenizer(here, model.chat_template)
    questions = build_questions(instrument, tokenizer, quiz=asked, presentations=sets.tune)
    others = build_questions(instrument, tokenizer, presentations=sets.choose)
    for each in (questions, others):
        check_positions(model_config, each, settings.prompt.length)
    check_tokens(model_config, tokenizer)
    mesh = mesh_for(settings, model_config, len(targets))
    check_devices(settings, mesh)
    graphdef, weights, _ = load_model(folder, model.dtype, sharding_over(mesh))
    target_GC = [[target.scores[key] for key in instrument.dimensions] for target in targets]
    asked_GB = np.array([[question in each for question in asked] for each in own], np.float32)
    norm = row_norm_of(weights, model_config)
    wanted_GC = np.array(target_GC)
    task = make_task(questions, scoring, wanted_GC, asked_GB if culturalbench else None, norm)
    if sets.choose:
        choosing = make_task(others, scoring, wanted_GC, row_norm=norm)
        task = dataclasses.replace(task, choosing=choosing)
    if at_a_time := settings.objective.at_a_time:
        turns = make_turns(questions, tokenizer, asked, at_a_time, settings.objective.reevaluate)
        task = dataclasses.replace(task, turns=turns)
    sources = (instrument, culturalbench) if culturalbench else (instrument,)
    notices = (read_notice(folder), *(source.notice for source in sources))
    problem = Problem(
        instrument=instrument,
        scoring=scoring,
        targets=targets,
        folder=folder,
        notice="; ".join(filter(None, notices)) or None,
        graphdef=graphdef,
        weights=weights,
        model_config=model_config,
        tokenizer=tokenizer,
        questions=questions,
        sets=sets,
        task=copy_everywhere(mesh, task) if mesh else jax.device_put(task),
        objective=make_objective(settings.objective),
        mesh=mesh,
    )
    return quantize_problem(problem, model.quantization)


def row_norm_of(weights: Any, model_config: DecoderConfig) -> float:
    """Return the mean Euclidean norm of the input embeddings."""
    return float(jax.jit(mean_norm)(weights["embedding"][...])) * model_config.embedding_scale


def check_positions(model_config: DecoderConfig, questions: Questions, length: int) -> None:
    """Raise UserError unless the model has positions for a prompt and the longest question."""
    model_config.check_positions(length + int(questions.trie.positions_T.max()) + 1)


def check_tokens(model_config: DecoderConfig, tokenizer: Any) -> None:
    """Raise UserError if a tokenizer has tokens for which the model has no embeddings.

    A gather beyond the table would be clamped to its last row, without a word.
    """
    most = max(tokenizer.get_vocab().values())
    if most >= model_config.vocab_size:
        raise UserError(
            f"the tokenizer has tokens up to {most}, but the model has vocab_size="
            f"{model_config.vocab_size}: they are not of one model, or tokens were added to the "
            "tokenizer and the embeddings were not resized"
        )


def mesh_for(
    settings: Settings, model_config: DecoderConfig, countries: int
) -> jax.sharding.Mesh | None:
    """Return the mesh of a run: as configured, or as suits the devices and the model.

    Raises:
      UserError: it cannot work.
    """
    _, abstract = abstract_model(model_config, settings.model.dtype)
    return choose_mesh(
        (settings.mesh.population, settings.mesh.model),
        countries * settings.search.population,
        split_sizes(model_config),
        parameter_bytes(abstract),
    )


def quantize_problem(problem: Problem, mode: str) -> Problem:
    """Return the problem with quantised weights; the full ones are freed."""
    if mode == NO_QUANTIZATION:
        return problem
    readout = "greedy" if problem.objective.readout == "greedy" else "expected"
    no_rows = copy_everywhere(problem.mesh, jnp.zeros((1, 0, problem.model_config.width)))
    alone = jax.jit(Evaluator(problem.graphdef, Objective(readout)))
    result = alone(problem.weights, problem.task, no_rows, key=jax.random.key(0))
    weights = quantize(problem.weights, mode)
    naive_QA = np.asarray(result.answers_PQA[0])
    return dataclasses.replace(problem, weights=weights, full_naive_QA=naive_QA)


def in_full_precision(problem: Problem, dtype: str) -> Problem:
    """Return the problem with unquantised weights, read again if they were quantised."""
    if problem.full_naive_QA is None:
        return problem
    _, weights, _ = load_model(problem.folder, dtype, sharding_over(problem.mesh))
    return dataclasses.replace(problem, weights=weights)


def check_devices(settings: Settings, mesh: jax.sharding.Mesh | None) -> None:
    """Check that the devices run the configured attention.

    Raises:
      UserError: they do not.
    """
    platform, count = jax.devices()[0].platform, mesh.size if mesh else 1
    check_attention(settings.evaluation.attention, platform, settings.model.dtype, count)
