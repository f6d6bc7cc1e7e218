"""Where a search begins: first populations, spaces, warm starts, and what the seed decides."""

import dataclasses
import re

import jax
import numpy as np
import pytest

from jaxalign.config import base, freeze
from jaxalign.errors import UserError
from jaxalign.model import to_safetensors
from jaxalign.problem import load_problem
from jaxalign.prompts import load_texts
from jaxalign.run.initialization import (
    POPULATION,
    file_digests,
    first_prompts,
    initialize,
    with_spread,
)

LENGTH, PER_COUNTRY, COUNTRIES = 3, 6, ("SA", "US")
EVERYONE = PER_COUNTRY * len(COUNTRIES)


def make_config(folder, **keys):
    config = base("embedded")
    config.country = ",".join(COUNTRIES)
    config.model.path = str(folder)
    config.prompt.length = LENGTH
    config.search.population = PER_COUNTRY
    config.update_from_flattened_dict({key.replace("__", "."): keys[key] for key in keys})
    return freeze(config)


@pytest.fixture(scope="module")
def problem(tiny_folder):
    return load_problem(make_config(tiny_folder))


@pytest.fixture
def start(tiny_folder, problem):
    """The search plan with some keys set."""
    return lambda **keys: initialize(make_config(tiny_folder, **keys), problem)


@pytest.fixture(scope="module")
def table_VD(problem):
    return np.asarray(problem.weights["embedding"][...], np.float32)


def rows_of(table_VD, prompts_PLD):
    """Token of each prompt row; fails if a row is no row of the table."""
    rows = {row.tobytes(): token for token, row in reversed(list(enumerate(table_VD)))}
    return [[rows[row.tobytes()] for row in prompt] for prompt in np.asarray(prompts_PLD)]


@pytest.mark.parametrize("init", ["texts", "diverse", "mixtures", "vocabulary", "normal"])
def test_each_kind_makes_a_population_that_the_seed_decides(start, init):
    keys = {"prompt__init": init, "prompt__length": 20}  # some texts begin alike
    first = np.asarray(start(**keys).vectors_E)
    assert first.shape == (EVERYONE, 20, 32) and first.dtype == np.float32
    assert np.isfinite(first).all()
    assert len(np.unique(first.reshape(EVERYONE, -1), axis=0)) == EVERYONE
    np.testing.assert_array_equal(first, start(**keys).vectors_E)
    assert (first != np.asarray(start(seed=1, **keys).vectors_E)).any()


@pytest.mark.parametrize("init", ["texts", "diverse", "vocabulary"])
def test_rows_are_rows_of_the_embedding_table(start, table_VD, init):
    rows_of(table_VD, start(prompt__init=init).vectors_E)


def test_mixtures_lie_between_two_texts(start, tiny_folder, problem):
    texts_ELD = np.asarray(first_prompts(make_config(tiny_folder), problem))
    for mixed_LD in np.asarray(start(prompt__init="mixtures").vectors_E):
        gaps = []
        for place, one_LD in enumerate(texts_ELD):
            for other_LD in texts_ELD[place + 1 :]:
                step_LD = other_LD - one_LD
                length_L = np.maximum(np.sum(step_LD**2, axis=1), 1e-12)
                share_L = np.clip(np.sum((mixed_LD - one_LD) * step_LD, axis=1) / length_L, 0, 1)
                between_LD = one_LD + share_L[:, None] * step_LD
                gaps.append(np.abs(mixed_LD - between_LD).max())
        assert min(gaps) < 1e-5


def test_noise_has_the_moments_of_the_vocabulary(start, table_VD):
    prompts = np.asarray(start(prompt__init="normal", search__population=400).vectors_E)
    flat = prompts.reshape(-1, 32)
    error = table_VD.std(axis=0) / np.sqrt(len(flat))
    assert (np.abs(flat.mean(axis=0) - table_VD.mean(axis=0)) < 5 * error).all()
    np.testing.assert_allclose(flat.std(axis=0), table_VD.std(axis=0), rtol=0.1)


@pytest.mark.parametrize("init", ["texts", "diverse"])
def test_no_first_text_names_a_searched_country(tiny_folder, problem, table_VD, init):
    config = make_config(tiny_folder, prompt__init=init, prompt__length=40, search__population=150)
    named = load_texts().countries
    searched = [named[code] for code in COUNTRIES] + ["American", "Saudi"]
    texts = [
        problem.tokenizer.decode(tokens)
        for tokens in rows_of(table_VD, first_prompts(config, problem))
    ]
    assert len(texts) == 300
    for name in searched:
        assert not [text for text in texts if re.search(rf"\b{name}\b", text)], name
    others = [name for code, name in named.items() if code not in COUNTRIES]
    assert sum(any(name in text for text in texts) for name in others) > 0.9 * len(others)


def test_a_country_may_be_named_where_it_is_not_searched(tiny_folder, problem, table_VD):
    config = make_config(tiny_folder, country="CN", prompt__length=40, search__population=80)
    alone = dataclasses.replace(problem, targets=problem.targets[:1])
    texts = " ".join(
        problem.tokenizer.decode(tokens)
        for tokens in rows_of(table_VD, first_prompts(config, alone))
    )
    assert "United States" in texts and "Saudi Arabia" not in texts


def test_a_warm_start_from_one_prompt(start, tmp_path, table_VD):
    prompt_LD = np.random.default_rng(0).normal(size=(LENGTH, 32)).astype(np.float32)
    path = tmp_path / "soft_prompt.safetensors"
    path.write_bytes(to_safetensors({"prompt_embeddings": prompt_LD}, None))
    first = np.asarray(start(prompt__init=str(path)).vectors_E)
    np.testing.assert_array_equal(first[0], prompt_LD)
    noise = first[1:] - prompt_LD
    assert len(first) == EVERYONE and (np.abs(noise).max(axis=(1, 2)) > 0).all()
    np.testing.assert_allclose(noise.std(), 0.5 * table_VD.std(), rtol=0.1)


def test_a_warm_start_from_a_population(start, tmp_path):
    members = np.random.default_rng(0).normal(size=(8, LENGTH, 32)).astype(np.float32)
    (tmp_path / POPULATION).write_bytes(to_safetensors({"population": members}, None))
    first = np.asarray(start(prompt__init=f"{tmp_path}/").vectors_E)
    np.testing.assert_array_equal(first[:8], members)
    assert len(first) == EVERYONE and (first[8:] != members[:4]).any(axis=(1, 2)).all()
    fewer = np.asarray(start(prompt__init=str(tmp_path), search__population=4).vectors_E)
    np.testing.assert_array_equal(fewer, members)


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("other", (LENGTH, 32), "prompt_embeddings"),
        ("prompt_embeddings", (LENGTH + 1, 32), f"prompt.length={LENGTH + 1}"),
        ("prompt_embeddings", (LENGTH, 31), "31 wide"),
    ],
)
def test_a_prompt_of_another_form_is_refused(start, tmp_path, name, shape, words):
    path = tmp_path / "p.safetensors"
    path.write_bytes(to_safetensors({name: np.zeros(shape, np.float32)}, None))
    with pytest.raises(UserError, match=re.escape(words)) as fault:
        start(prompt__init=str(path))
    assert "\n" not in str(fault.value) and str(path) in str(fault.value)


def test_a_warm_start_from_the_prompt_of_a_run_that_left_no_population(start, tmp_path):
    prompt_LD = np.random.default_rng(0).normal(size=(LENGTH, 32)).astype(np.float32)
    content = to_safetensors({"prompt_embeddings": prompt_LD}, None)
    (tmp_path / "soft_prompt.safetensors").write_bytes(content)
    first = np.asarray(start(prompt__init=f"{tmp_path}/").vectors_E)
    np.testing.assert_array_equal(first[0], prompt_LD)


def test_a_folder_without_prompts_is_refused(start, tmp_path):
    with pytest.raises(UserError, match=r"^prompt\.init=.*the folder holds no soft prompt"):
        start(prompt__init=f"{tmp_path}/")


def test_a_subspace_goes_through_the_first_prompt(start, tiny_folder, problem):
    config = make_config(tiny_folder)
    plan = start(search__space="subspace", search__dimension=7)
    assert plan.space.shape == (7,) and plan.vectors_E.shape == (EVERYONE, 7)
    prompts = np.asarray(plan.space.prompts(plan.vectors_E))
    np.testing.assert_allclose(prompts[0], first_prompts(config, problem)[0], rtol=1e-6)
    again = start(search__space="subspace", search__dimension=7)
    jax.tree.map(np.testing.assert_array_equal, plan.space, again.space)
    other = start(search__space="subspace", search__dimension=7, seed=1)
    assert (plan.space.basis_MLD != other.space.basis_MLD).any()


def test_a_subspace_goes_through_a_given_prompt(start, tmp_path):
    prompt_LD = np.random.default_rng(0).normal(size=(LENGTH, 32)).astype(np.float32)
    path = tmp_path / "p.safetensors"
    path.write_bytes(to_safetensors({"prompt_embeddings": prompt_LD}, None))
    space = start(prompt__init=str(path), search__space="subspace", search__dimension=7).space
    np.testing.assert_array_equal(space.origin_LD, prompt_LD)


def test_the_first_candidates_among_texts_are_texts(start, table_VD):
    plan = start(search__space="texts", search__dimension=5)
    assert plan.space.shape == (5,) and plan.vectors_E.shape == (EVERYONE, 5)
    prompts = np.asarray(plan.space.prompts(plan.vectors_E))
    distance = np.abs(prompts[:5, :, None] - table_VD[None, None]).max(axis=-1).min(axis=-1)
    assert distance.max() < 1e-6  # each row is a row of the table
    distance = np.abs(prompts[5:, :, None] - table_VD[None, None]).max(axis=-1).min(axis=-1)
    assert (distance.max(axis=-1) > 1e-4).all()  # the others lie between


@pytest.mark.parametrize("space", ["full", "subspace", "texts"])
def test_limits_hold_in_every_space(start, table_VD, space):
    keys = {"search__space": space, "search__dimension": 5, "search__max_norm": 0.5}
    plan = start(prompt__init="texts" if space == "texts" else "normal", **keys)
    prompts = np.asarray(plan.space.prompts(3 * plan.vectors_E))
    limit = 0.5 * np.linalg.norm(table_VD, axis=-1).mean()
    norms = np.linalg.norm(prompts, axis=-1)
    assert norms.max() <= limit * (1 + 1e-6) and norms.max() > 0.99 * limit


@pytest.mark.parametrize("space", ["full", "subspace", "texts"])
def test_the_spread_is_that_around_the_mean_and_may_be_given(start, tiny_folder, space):
    keys = {"search__space": space, "search__dimension": 5}
    plan = start(**keys)
    vectors = np.asarray(plan.vectors_E, np.float64)
    expected = np.sqrt(np.mean((vectors - vectors.mean(axis=0)) ** 2))
    assert plan.spread == pytest.approx(expected, rel=1e-4)
    settings = make_config(tiny_folder, search__strategy="SNES", **keys)
    resumed = with_spread(start(search__strategy="SNES", **keys), settings, 0.125)
    assert resumed.spread == 0.125
    strategy = resumed.strategy
    assert float(strategy.params.std_init) == 0.125


def test_digests_of_the_files_that_decide_the_initialization(tiny_folder, tmp_path):
    assert file_digests(make_config(tiny_folder)) == {}
    texts, prompt = tmp_path / "mine.yaml", tmp_path / "p.safetensors"
    texts.write_text("values: []\n")
    prompt.write_bytes(b"one")
    config = make_config(tiny_folder, prompt__texts=str(texts), prompt__init=str(prompt))
    before = file_digests(config)
    assert set(before) == {"file of prompt.init", "file of prompt.texts"}
    prompt.write_bytes(b"two")
    changed = {name for name, digest in file_digests(config).items() if digest != before[name]}
    assert changed == {"file of prompt.init"}
