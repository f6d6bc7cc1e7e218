"""From a config to what a command works on: survey, target, model, questions, population."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import config_dict

from jaxalign.fitness import Task, make_task
from jaxalign.model import (
    LlamaConfig,
    load_model,
    read_config,
    read_notice,
    resolve,
    weights_digest,
)
from jaxalign.prompts import (
    Questions,
    build_questions,
    encode_texts,
    load_texts,
    load_tokenizer,
    starting_texts,
)
from jaxalign.search import from_tokens, from_vocabulary, make_strategy, normal
from jaxalign.survey import (
    Instrument,
    Scoring,
    Target,
    find_target,
    load_instrument,
    load_targets,
    make_scoring,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """A survey put to a model, and the scores it should give.

    Attributes:
      instrument, scoring, target: the survey, its formulas, the country's scores.
      folder: where the model's files lie.
      notice: what every output of this model must say, or None.
      graphdef, weights, model_config: the model.
      tokenizer: the model's own.
      questions: the survey as tokens; task: the same with the target, as arrays on the device.
    """

    instrument: Instrument
    scoring: Scoring
    target: Target
    folder: Path
    notice: str | None
    graphdef: Any
    weights: Any
    model_config: LlamaConfig
    tokenizer: Any
    questions: Questions
    task: Task

    def digests(self) -> dict[str, str]:
        """SHA-256 of what decides the result besides the config, by name."""
        trie = self.questions.trie
        parts = {
            "architecture": repr(self.model_config).encode(),
            "survey": json.dumps(dataclasses.asdict(self.instrument), sort_keys=True).encode(),
            "target": json.dumps(self.target.scores, sort_keys=True).encode(),
            # Tokenizer and chat template, by what they made of the survey.
            "questions": b"".join(
                array.tobytes()
                for array in (trie.tokens_T, trie.parents_T, self.questions.answer_ids_QA)
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
    target = find_target(targets, config.country, f"survey.targets={survey.targets}")
    # Only to check the names and numbers of search.*: the real one needs the model's width.
    make_strategy(
        config.search.strategy, config.search.population, 1, 2, 1.0, strategy_params(config)
    )

    folder = resolve(model.path, model.revision)
    model_config = read_config(folder)
    tokenizer = load_tokenizer(folder)
    questions = build_questions(instrument, tokenizer)
    model_config.check_positions(config.prompt.length + int(questions.trie.positions_T.max()) + 1)
    target_C = np.array([target.scores[key] for key in instrument.dimensions], np.float32)
    graphdef, weights, _ = load_model(folder, model.dtype)
    return Problem(
        instrument=instrument,
        scoring=scoring,
        target=target,
        folder=folder,
        notice=read_notice(folder),
        graphdef=graphdef,
        weights=weights,
        model_config=model_config,
        tokenizer=tokenizer,
        questions=questions,
        task=jax.device_put(make_task(questions, scoring, target_C)),
    )


def strategy_params(config: config_dict.ConfigDict) -> dict[str, Any]:
    """`search.strategy_params` as a plain dictionary."""
    return config.search.strategy_params.to_dict()


def first_population(config: config_dict.ConfigDict, problem: Problem) -> jax.Array:
    """The initial population, float32 [P, L, D], seeded by `seed` and never naming the country."""
    population, length = config.search.population, config.prompt.length
    table_VD = problem.weights["embedding"][...]
    if config.prompt.init == "texts":
        rng = np.random.default_rng(config.seed)
        target = problem.target
        texts = starting_texts(load_texts(), target.code, target.country, population, rng)
        return jax.jit(from_tokens)(table_VD, encode_texts(problem.tokenizer, texts, length))
    draw = {"vocabulary": from_vocabulary, "normal": normal}[config.prompt.init]
    # Beyond every generation's number, which fold_in the same key.
    key = jax.random.fold_in(jax.random.key(config.seed), 2**32 - 1)
    return jax.jit(draw, static_argnums=(2, 3))(key, table_VD, population, length)
