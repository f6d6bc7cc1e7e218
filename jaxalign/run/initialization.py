"""Where a search begins: its space, its strategy and its first population."""

import dataclasses
import hashlib
import math
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import config_dict

from jaxalign.config import INITIAL
from jaxalign.devices.mesh import copy_everywhere
from jaxalign.errors import UserError
from jaxalign.interchange import prompt_file, read_population, read_soft_prompt
from jaxalign.problem import Problem
from jaxalign.prompts import encode_texts, load_texts, starting_texts
from jaxalign.search import (
    Space,
    Strategy,
    embedding_std,
    first_vectors,
    from_tokens,
    from_vocabulary,
    full_space,
    make_strategy,
    mixtures,
    normal,
    random_subspace,
    resize_population,
    strategy_file,
    text_space,
    with_limits,
)

POPULATION = "population.safetensors"  # in a workdir: the last members' prompts, by country
_INIT = "prompt.init"
_NOISE = 0.5  # of copies of a given prompt, in standard deviations of the embeddings
# Numbers that fold into the run's key, beyond those of all generations.
_PROMPTS, NAIVE, _BASIS, _VECTORS, RESCORE = (2**32 - 1 - place for place in range(5))


@dataclasses.dataclass(frozen=True, eq=False)
class Beginning:
    """What generation 0 needs.

    Attributes:
      space: from search vectors to prompts.
      vectors_E: the first population, E = G × P search vectors.
      spread: standard deviation of the first population around its mean, the first step length of
        strategies that have one.
      strategy: for one country; its candidates are search vectors laid out along one axis.
    """

    space: Space
    vectors_E: jax.Array
    spread: float
    strategy: Strategy


def begin(
    config: config_dict.ConfigDict, problem: Problem, spread: float | None = None
) -> Beginning:
    """Draws the first population and builds what searches from there.

    Args:
      config: of the run.
      problem: what is asked of which model.
      spread: of a run that goes on; None measures it.
    """
    root = jax.random.key(config.seed)
    # Copied, so that what is measured of them rounds alike on any mesh.
    prompts_ELD = copy_everywhere(problem.mesh, first_prompts(config, problem))
    space = make_space(config, problem, prompts_ELD)
    vectors_E = first_vectors(space, jax.random.fold_in(root, _VECTORS), prompts_ELD)
    if spread is None:
        spread = float(jnp.std(vectors_E - jnp.mean(vectors_E, axis=0, keepdims=True)))
    strategy = make_strategy(
        config.search.strategy,
        config.search.population,
        (math.prod(space.shape),),  # one axis, so that devices may share the coordinates evenly
        spread,
        config.search.strategy_params.to_dict(),
        config.search.generations,
    )
    return Beginning(space, vectors_E, spread, strategy)


def make_space(config: config_dict.ConfigDict, problem: Problem, prompts_ELD: jax.Array) -> Space:
    """The space that `search.space` names, with the limits of `search.bounds` and `max_norm`."""
    search, table_VD = config.search, problem.weights["embedding"][...]
    _, length, width = prompts_ELD.shape
    if search.space == "subspace":
        key = jax.random.fold_in(jax.random.key(config.seed), _BASIS)
        space = random_subspace(key, table_VD, prompts_ELD[0], search.dimension)
    elif search.space == "texts":
        space = text_space(from_tokens(table_VD, _texts(config, problem, search.dimension)))
    else:
        space = full_space(length, width)
    return with_limits(space, search.bounds, search.max_norm, table_VD)


def first_prompts(config: config_dict.ConfigDict, problem: Problem) -> jax.Array:
    """Soft prompts to start from, float32 [E, L, D], seeded and never naming a searched country.

    Raises:
      UserError: a file that `prompt.init` names cannot be used.
    """
    init, length = config.prompt.init, config.prompt.length
    count = len(problem.targets) * config.search.population
    table_VD = problem.weights["embedding"][...]
    width = table_VD.shape[1]
    key = jax.random.fold_in(jax.random.key(config.seed), _PROMPTS)
    if init in ("texts", "diverse"):
        return jax.jit(from_tokens)(table_VD, _texts(config, problem, count))
    if init == "mixtures":
        texts_PLD = from_tokens(table_VD, _texts(config, problem, count))
        return jax.jit(mixtures, static_argnums=2)(key, texts_PLD, count)
    if init in INITIAL:
        draw = {"vocabulary": from_vocabulary, "normal": normal}[init]
        return jax.jit(draw, static_argnums=(2, 3))(key, table_VD, count, length)
    start = _start_file(init)
    if start.name == POPULATION:
        members_PLD = read_population(start, _INIT, length, width)
    else:
        members_PLD = read_soft_prompt(init, _INIT, length, width)[None]
    noise = _NOISE * jax.jit(embedding_std)(table_VD)
    return resize_population(jnp.asarray(members_PLD), count, key, noise)


def file_digests(config: config_dict.ConfigDict) -> dict[str, str]:
    """SHA-256 of the user's files that a search is made of, by name.

    Raises:
      UserError: a file cannot be read.
    """
    init, own = config.prompt.init, config.prompt.texts
    paths = {}
    if strategy := strategy_file(config.search.strategy):
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
    """What a path for `prompt.init` starts from: a run's last population, or a single prompt."""
    population = Path(os.path.expanduser(init)) / POPULATION
    return population if population.is_file() else prompt_file(init, _INIT)


def _texts(config: config_dict.ConfigDict, problem: Problem, count: int) -> np.ndarray:
    """Token ids int32 [count, L] of texts that name no country that is searched for."""
    searched = [(target.code, target.country) for target in problem.targets]
    texts = load_texts(config.prompt.texts)
    rng = np.random.default_rng(config.seed)
    diverse = config.prompt.init == "diverse"
    chosen = starting_texts(texts, searched, count, rng, diverse)
    return encode_texts(problem.tokenizer, chosen, config.prompt.length)
