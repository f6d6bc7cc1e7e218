"""From a config to what a command works on: survey, targets, model, questions."""

import dataclasses
import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from ml_collections import config_dict

from jaxalign.config import ALL, country_names, format_names
from jaxalign.devices.mesh import choose_mesh, copy_everywhere
from jaxalign.errors import UserError
from jaxalign.fitness import evaluate
from jaxalign.model import (
    NO_QUANTIZATION,
    LlamaConfig,
    abstract_model,
    check_attention,
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
from jaxalign.objective import BENCHMARK_TERMS, Objective, Task, make_task
from jaxalign.prompts import (
    Questions,
    build_questions,
    load_texts,
    load_tokenizer,
    parse_format,
)
from jaxalign.search import Strategy, make_strategy, mean_norm, strategy_file
from jaxalign.survey import (
    DISTRIBUTION,
    Benchmark,
    Instrument,
    Scoring,
    ShareScoring,
    Target,
    find_target,
    instrument_digest,
    load_benchmark,
    load_instrument,
    make_scoring,
    questions_for,
    shuffled,
    targets_for,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """A survey put to a model, and the scores it should give.

    Attributes:
      instrument, scoring: the survey and how it is scored.
      targets: the scores of each of the G countries.
      folder: where the model's files lie.
      notice: what every output of this model and this survey must say, or None.
      graphdef, weights, model_config: the model.
      tokenizer: the model's own.
      questions: survey and benchmark as tokens; task: the same with the targets, as arrays on the
        device.
      full_naive_QA: what the model answers without a soft prompt before its weights are quantised;
        None where they are not.
      mesh: of the devices that the weights lie on; None for one device.
    """

    instrument: Instrument
    scoring: Scoring | ShareScoring
    targets: tuple[Target, ...]
    folder: Path | epath.Path
    notice: str | None
    graphdef: Any
    weights: Any
    model_config: LlamaConfig
    tokenizer: Any
    questions: Questions
    task: Task
    full_naive_QA: np.ndarray | None = None
    mesh: jax.sharding.Mesh | None = None

    def digests(self) -> dict[str, str]:
        """SHA-256 of what decides the result besides the config, by name."""
        trie = self.questions.trie
        parts = {
            "architecture": repr(self.model_config).encode(),
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
                    np.asarray(self.task.asked_GB),
                )
            ),
        }
        digests = {name: hashlib.sha256(part).hexdigest() for name, part in parts.items()}
        survey = {"survey": instrument_digest(self.instrument)}
        return {"weights": weights_digest(self.folder)} | survey | digests


def load_problem(config: config_dict.ConfigDict) -> Problem:
    """Loads everything, cheapest first, so that a mistake shows before the weights are read.

    Raises:
      UserError: from any part.
    """
    survey, model = config.survey, config.model
    instrument = load_instrument(survey.instrument)
    scoring = make_scoring(instrument, survey.constant, survey.coefficients)
    targets = targets_for(instrument, survey.targets)
    names = country_names(config.country)
    if [name.casefold() for name in names] == [ALL]:
        names = list(targets)
    wanted = {
        target.code: target
        for target in (
            find_target(targets, name, f"survey.targets={survey.targets}") for name in names
        )
    }
    formats = [parse_format(name) for name in format_names(config.objective.formats)]
    if survey.shuffle and instrument.scoring == DISTRIBUTION:
        raise UserError(
            f"survey.shuffle={survey.shuffle}: {instrument.name} has answer distributions and no "
            "dimensions to shuffle; give 0"
        )
    if survey.shuffle:
        wanted = {code: shuffled(target, survey.shuffle) for code, target in wanted.items()}
    benchmark = _load_benchmark(config)
    own = [questions_for(benchmark, each.country) for each in wanted.values()] if benchmark else []
    asked = [question for questions in own for question in questions]
    load_texts(config.prompt.texts)  # only to check it, and so is the strategy: see `beginning`
    check_strategy(config)

    folder = resolve(model.path, model.revision)
    model_config = read_config(folder)
    with on_disk(folder) as here:
        tokenizer = load_tokenizer(here)
    questions = build_questions(instrument, tokenizer, benchmark=asked, formats=formats)
    model_config.check_positions(config.prompt.length + int(questions.trie.positions_T.max()) + 1)
    target_GC = [[t.scores[key] for key in instrument.dimensions] for t in wanted.values()]
    mesh = mesh_for(config, model_config, len(wanted))
    check_devices(config, mesh)
    graphdef, weights, _ = load_model(folder, model.dtype, sharding_over(mesh))
    asked_GB = np.array([[question in each for question in asked] for each in own], np.float32)
    row_norm = float(jax.jit(mean_norm)(weights["embedding"][...]))
    task = make_task(
        questions, scoring, np.array(target_GC), asked_GB if benchmark else None, row_norm
    )
    notices = (read_notice(folder), instrument.notice, benchmark.notice if benchmark else None)
    problem = Problem(
        instrument=instrument,
        scoring=scoring,
        targets=tuple(wanted.values()),
        folder=folder,
        notice="; ".join(filter(None, notices)) or None,
        graphdef=graphdef,
        weights=weights,
        model_config=model_config,
        tokenizer=tokenizer,
        questions=questions,
        task=copy_everywhere(mesh, task) if mesh else jax.device_put(task),
        mesh=mesh,
    )
    return quantize_problem(config, problem)


def mesh_for(
    config: config_dict.ConfigDict, model_config: LlamaConfig, countries: int
) -> jax.sharding.Mesh | None:
    """The mesh of a run: what the config says, or what suits the devices and the model.

    Raises:
      UserError: it cannot work.
    """
    _, abstract = abstract_model(model_config, config.model.dtype)
    return choose_mesh(
        (config.mesh.population, config.mesh.model),
        countries * config.search.population,
        split_sizes(model_config),
        parameter_bytes(abstract),
    )


def quantize_problem(config: config_dict.ConfigDict, problem: Problem) -> Problem:
    """The same of the model with 8-bit weights, if the config says so; the full ones are freed."""
    if config.model.quantization == NO_QUANTIZATION:
        return problem
    readout = "greedy" if config.objective.readout == "greedy" else "expected"
    no_rows = copy_everywhere(problem.mesh, jnp.zeros((1, 0, problem.model_config.width)))
    alone = jax.jit(functools.partial(evaluate, problem.graphdef, Objective(readout)))
    answers_PQA = alone(problem.weights, problem.task, no_rows, jax.random.key(0)).answers_PQA
    weights = quantize(problem.weights, config.model.quantization)
    return dataclasses.replace(problem, weights=weights, full_naive_QA=np.asarray(answers_PQA[0]))


def in_full_precision(config: config_dict.ConfigDict, problem: Problem) -> Problem:
    """The same of the model as its files have it, read again where its weights are quantised."""
    if problem.full_naive_QA is None:
        return problem
    _, weights, _ = load_model(problem.folder, config.model.dtype, sharding_over(problem.mesh))
    return dataclasses.replace(problem, weights=weights)


def check_strategy(config: config_dict.ConfigDict) -> None:
    """Checks that there is such a strategy, for these parameters and this population.

    Raises:
      UserError: there is not, or the steps of a user's own cannot be traced.
    """
    search = config.search
    params = search.strategy_params.to_dict()
    strategy = make_strategy(
        search.strategy, search.population, (1, 2), 1.0, params, search.generations
    )
    if strategy_file(search.strategy):
        try:
            jax.eval_shape(functools.partial(_steps, strategy), jax.random.key(0), strategy.params)
        except Exception as error:  # whatever the user's class raises
            reason = str(error).strip().partition("\n")[0]
            raise UserError(
                f"search.strategy={search.strategy!r}: init, ask and tell cannot be traced "
                f"({type(error).__name__}: {reason})"
            ) from error


def check_devices(config: config_dict.ConfigDict, mesh: jax.sharding.Mesh | None) -> None:
    """Checks that the devices run the attention that the config names.

    Raises:
      UserError: they do not.
    """
    platform, count = jax.devices()[0].platform, mesh.size if mesh else 1
    check_attention(config.evaluation.attention, platform, config.model.dtype, count)


def _steps(strategy: Strategy, key: jax.Array, params: Any) -> Any:
    """The state after one generation."""
    loss_P = jnp.zeros(strategy.population)
    state = strategy.init(key, params, jnp.zeros((strategy.population, *strategy.shape)), loss_P)
    vectors, state = strategy.ask(key, params, state)
    return strategy.tell(key, params, vectors, loss_P, state)


def _load_benchmark(config: config_dict.ConfigDict) -> Benchmark | None:
    if config.objective.benchmark:
        return load_benchmark(config.objective.benchmark)
    for name, weight in config.objective.terms.items():
        if weight and name in BENCHMARK_TERMS:
            raise UserError(
                f"objective.terms.{name}={weight:g}: needs questions; set objective.benchmark to a "
                "CSV of CulturalBench-Easy, or to `fixture`"
            )
    return None
