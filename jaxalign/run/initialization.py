"""Initialization of a search: its space, its strategy and its first population."""

import dataclasses
import hashlib
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxalign.devices.mesh import copy_everywhere
from jaxalign.errors import UserError
from jaxalign.interchange import prompt_file, read_population, read_soft_prompt
from jaxalign.model import first_layer_gram
from jaxalign.problem import Problem
from jaxalign.prompts import encode_texts, load_texts, starting_texts
from jaxalign.search import (
    Draw,
    SearchPlan,
    Space,
    draw_key,
    embedding_std,
    first_layer_space,
    first_vectors,
    from_tokens,
    from_vocabulary,
    full_space,
    mixtures,
    normal,
    random_subspace,
    resize_population,
    strategy_file,
    strategy_for,
    text_space,
    with_limits,
)
from jaxalign.settings import INITIAL, Settings

POPULATION = "population.safetensors"  # in a workdir: the last members' prompts, by country
_INIT = "prompt.init"
_NOISE = 0.5  # of copies of a given prompt, in standard deviations of the embeddings


def initialize(settings: Settings, problem: Problem) -> SearchPlan:
    """Draw the first population and build the space and the strategy that search from it.

    Raises:
      UserError: a file that `prompt.init` names cannot be used, or the strategy cannot start.
    """
    # Copied, so that its spread rounds alike on any mesh.
    prompts_ELD = copy_everywhere(problem.mesh, first_prompts(settings, problem))
    space = make_space(settings, problem, prompts_ELD)
    vectors_E = first_vectors(space, draw_key(settings.seed, Draw.VECTORS), prompts_ELD)
    spread = float(jnp.std(vectors_E - jnp.mean(vectors_E, axis=0, keepdims=True)))
    return SearchPlan(
        seed=settings.seed,
        space=space,
        strategy=strategy_for(settings.search, space.shape, spread),
        vectors_E=vectors_E,
        spread=spread,
        migrants=settings.search.migrants,
        reevaluate=settings.objective.reevaluate if problem.has_noisy_loss else 0,
    )


def with_spread(plan: SearchPlan, settings: Settings, spread: float) -> SearchPlan:
    """Return the plan of a resumed run, whose strategy started with a recorded spread."""
    strategy = strategy_for(settings.search, plan.space.shape, spread)
    return dataclasses.replace(plan, spread=spread, strategy=strategy)


def make_space(settings: Settings, problem: Problem, prompts_ELD: jax.Array) -> Space:
    """Return the space of `search.space`, with the limits of `search.bounds` and `max_norm`."""
    search, table_VD = settings.search, problem.table_VD
    _, length, width = prompts_ELD.shape
    if search.space == "subspace":
        key = draw_key(settings.seed, Draw.BASIS)
        space = random_subspace(key, table_VD, prompts_ELD[0], search.dimension)
    elif search.space == "first_layer":
        gram_DD = copy_everywhere(
            problem.mesh, first_layer_gram(problem.weights, problem.model_config)
        )
        space = first_layer_space(gram_DD, table_VD, prompts_ELD[0], search.dimension)
    elif search.space == "texts":
        space = text_space(from_tokens(table_VD, _texts(settings, problem, search.dimension)))
    else:
        space = full_space(length, width)
    return with_limits(space, search.bounds, search.max_norm, table_VD)


def first_prompts(settings: Settings, problem: Problem) -> jax.Array:
    """Return soft prompts to start from, float32 [E, L, D], which never name a searched country.

    Raises:
      UserError: a file that `prompt.init` names cannot be used.
    """
    init, length = settings.prompt.init, settings.prompt.length
    count = len(problem.targets) * settings.search.population
    table_VD, width = problem.table_VD, problem.model_config.width
    key = draw_key(settings.seed, Draw.PROMPTS)
    if init in ("texts", "diverse"):
        return jax.jit(from_tokens)(table_VD, _texts(settings, problem, count))
    if init == "mixtures":
        texts_PLD = from_tokens(table_VD, _texts(settings, problem, count))
        return jax.jit(mixtures, static_argnums=2)(key, texts_PLD, count)
    if init in INITIAL:
        draw = {"vocabulary": from_vocabulary, "normal": normal}[init]
        return jax.jit(draw, static_argnums=(2, 3))(key, table_VD, count, length)
    start = _start_file(init)
    if start.name == POPULATION:
        members_PLD = read_population(start, _INIT, length, width)
    else:
        members_PLD = read_soft_prompt(init, _INIT, length, width, settings.model.path)[None]
    noise = _NOISE * jax.jit(embedding_std)(table_VD)
    return resize_population(jnp.asarray(members_PLD), count, key, noise)


def file_digests(settings: Settings) -> dict[str, str]:
    """Return SHA-256 of the user's files that a search is made of, by name.

    Raises:
      UserError: a file cannot be read.
    """
    init, own = settings.prompt.init, settings.prompt.texts
    paths = {}
    if strategy := strategy_file(settings.search.strategy):
        paths["file of search.strategy"] = strategy
    if init not in INITIAL:
        paths["file of prompt.init"] = _start_file(init)
    if own:
        paths["file of prompt.texts"] = Path(os.path.expanduser(own))
    try:
        return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in paths.items()}
    except OSError as error:
        raise UserError(
            f"{error.filename}: cannot read it ({error.strerror}); it is named by search.strategy, "
            "prompt.init or prompt.texts"
        ) from error


def _start_file(init: str) -> Path:
    """Return the file that a path for `prompt.init` means: a last population, or a prompt."""
    population = Path(os.path.expanduser(init)) / POPULATION
    return population if population.is_file() else prompt_file(init, _INIT)


def _texts(settings: Settings, problem: Problem, count: int) -> np.ndarray:
    """Return token ids int32 [count, L] of texts that name no searched country."""
    searched = [(target.code, target.country) for target in problem.targets]
    texts = load_texts(settings.prompt.texts)
    rng = np.random.default_rng(settings.seed)
    diverse = settings.prompt.init == "diverse"
    chosen = starting_texts(texts, searched, count, rng, diverse)
    return encode_texts(problem.tokenizer, chosen, settings.prompt.length)
