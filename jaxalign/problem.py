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
from ml_collections import config_dict

from jaxalign.config import ALL, country_names, format_names
from jaxalign.errors import UserError
from jaxalign.fitness import evaluate
from jaxalign.model import (
    NO_QUANTIZATION,
    LlamaConfig,
    check_attention,
    load_model,
    quantize,
    read_config,
    read_notice,
    resolve,
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
    Benchmark,
    Instrument,
    Scoring,
    Target,
    find_target,
    load_benchmark,
    load_instrument,
    load_targets,
    shuffled,
    make_scoring,
    questions_for,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """A survey put to a model, and the scores it should give.

    Attributes:
      instrument, scoring: the survey and its formulas.
      targets: the scores of each of the G countries.
      folder: where the model's files lie.
      notice: what every output of this model must say, or None.
      graphdef, weights, model_config: the model.
      tokenizer: the model's own.
      questions: survey and benchmark as tokens; task: the same with the targets, as arrays on the
        device.
      full_naive_QA: what the model answers without a soft prompt before its weights are quantised;
        None where they are not.
    """

    instrument: Instrument
    scoring: Scoring
    targets: tuple[Target, ...]
    folder: Path
    notice: str | None
    graphdef: Any
    weights: Any
    model_config: LlamaConfig
    tokenizer: Any
    questions: Questions
    task: Task
    full_naive_QA: np.ndarray | None = None

    def digests(self) -> dict[str, str]:
        """SHA-256 of what decides the result besides the config, by name."""
        trie = self.questions.trie
        parts = {
            "architecture": repr(self.model_config).encode(),
            "survey": json.dumps(dataclasses.asdict(self.instrument), sort_keys=True).encode(),
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
        return {"weights": weights_digest(self.folder)} | digests


def load_problem(config: config_dict.ConfigDict) -> Problem:
    """Loads everything, cheapest first, so that a mistake shows before the weights are read.

    Raises:
      UserError: from any part.
    """
    survey, model = config.survey, config.model
    instrument = load_instrument(survey.instrument)
    scoring = make_scoring(instrument, survey.constant, survey.coefficients)
    targets = load_targets(survey.targets, tuple(instrument.dimensions))
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
    if survey.shuffle:
        wanted = {code: shuffled(target, survey.shuffle) for code, target in wanted.items()}
    benchmark = _load_benchmark(config)
    own = [questions_for(benchmark, each.country) for each in wanted.values()] if benchmark else []
    asked = [question for questions in own for question in questions]
    load_texts(config.prompt.texts)  # only to check it, and so is the strategy: see `beginning`
    check_strategy(config)
    check_device(config)

    folder = resolve(model.path, model.revision)
    model_config = read_config(folder)
    tokenizer = load_tokenizer(folder)
    questions = build_questions(instrument, tokenizer, benchmark=asked, formats=formats)
    model_config.check_positions(config.prompt.length + int(questions.trie.positions_T.max()) + 1)
    target_GC = [[t.scores[key] for key in instrument.dimensions] for t in wanted.values()]
    graphdef, weights, _ = load_model(folder, model.dtype)
    asked_GB = np.array([[question in each for question in asked] for each in own], np.float32)
    row_norm = float(jax.jit(mean_norm)(weights["embedding"][...]))
    task = make_task(
        questions, scoring, np.array(target_GC), asked_GB if benchmark else None, row_norm
    )
    notices = (read_notice(folder), benchmark.notice if benchmark else None)
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
        task=jax.device_put(task),
    )
    return quantize_problem(config, problem)


def quantize_problem(config: config_dict.ConfigDict, problem: Problem) -> Problem:
    """The same of the model with 8-bit weights, if the config says so; the full ones are freed."""
    if config.model.quantization == NO_QUANTIZATION:
        return problem
    readout = "greedy" if config.objective.readout == "greedy" else "expected"
    no_rows = jnp.zeros((1, 0, problem.model_config.width))
    alone = jax.jit(functools.partial(evaluate, problem.graphdef, Objective(readout)))
    answers_PQA = alone(problem.weights, problem.task, no_rows, jax.random.key(0)).answers_PQA
    weights = quantize(problem.weights, config.model.quantization)
    return dataclasses.replace(problem, weights=weights, full_naive_QA=np.asarray(answers_PQA[0]))


def in_full_precision(config: config_dict.ConfigDict, problem: Problem) -> Problem:
    """The same of the model as its files have it, read again where its weights are quantised."""
    if problem.full_naive_QA is None:
        return problem
    _, weights, _ = load_model(problem.folder, config.model.dtype)
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


def check_device(config: config_dict.ConfigDict) -> None:
    """Checks that the first device runs what the config names.

    Raises:
      UserError: it does not.
    """
    platform = jax.devices()[0].platform
    check_attention(config.evaluation.attention, platform, config.model.dtype)


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
