"""One generation on every mesh of eight devices: the same search, and who talks to whom.

Eight CPU devices stand in for accelerators, in a process of their own. The model has eight heads,
so that a mesh of 1 x 8 can split it.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from paths import ROOT
from random_models import EIGHT_HEADS, save_random

from jaxalign.benchmark.ahead.collectives import collectives_of

pytestmark = pytest.mark.nightly  # seven meshes are compiled for

PROGRAM = r"""
import dataclasses, json, sys
from pathlib import Path
import jax, jax.numpy as jnp, numpy as np
from jaxalign.run import engine as engines
from jaxalign.run.checkpoint import Checkpoints, fingerprint
from jaxalign.config import base, freeze
from jaxalign.problem import load_problem
from jaxalign.run.initialization import initialize
from jaxalign.benchmark.parts import _search_alone

jax.config.update("jax_numpy_rank_promotion", "raise")
engines.ask_naive = lambda problem, *_: (problem.task, None)  # saves a compilation
folder, scratch = sys.argv[1], Path(sys.argv[2])
config = base("embedded")
config.country = "SA"
config.model.path = folder
config.prompt.length = 8
config.search.population = 22  # not a multiple of 8: the last round of cards is not full
config.evaluation.chunk = 2
SHAPES = [(1, 1), (2, 1), (2, 2), (8, 1), (4, 2), (2, 4), (1, 8)]


def host(tree):
    def leave(leaf):
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(leaf) if is_key else leaf)
    return [leave(leaf) for leaf in jax.tree.leaves(tree)]


def move(state, abstract):
    # To another mesh: by way of the host, as a checkpoint would.
    def put(leaf, like):
        where = like.sharding or jax.sharding.SingleDeviceSharding(jax.devices()[0])
        return jax.device_put(leaf, where)
    return jax.tree.map(put, state, abstract)


told, first, saved = [], None, None
for shape in SHAPES:
    config.mesh.population, config.mesh.model = shape
    settings = freeze(config)
    problem = load_problem(settings)
    plan = initialize(settings, problem)
    execution = engines.choose_execution(settings.evaluation, problem, plan)
    engine = engines.build_engine(problem, plan, execution, starts=shape == (1, 1))
    if first is None:
        first, _ = engine.start()
        first = jax.block_until_ready(first)
    state = move(jax.tree.map(jnp.copy, first), engine.abstract_state)
    members = state.strategy.population
    part = members.addressable_shards[0].data.size / members.size
    gate = problem.weights["block"]["gate"][...]
    state, metrics = engine.step(state)

    # The search without the model: the loss is a coordinate, which no mesh rounds.
    alone = jax.jit(_search_alone(problem, engine).step, out_shardings=(
        jax.tree.map(lambda leaf: leaf.sharding, engine.abstract_state), None
    ) if problem.mesh else None)
    searched = move(jax.tree.map(jnp.copy, first), engine.abstract_state)
    for _ in range(3):
        searched, _ = alone(None, engine.task, engine.plan.space, searched)

    checkpoints = Checkpoints(scratch / "checkpoints", every=1, keep=0)
    back = None
    if saved is not None:  # what another mesh has left
        back = host(checkpoints.restore(engine.abstract_state))
    told.append({
        "shape": shape,
        "chunk": engine.chunk,
        "part": part,
        "gate": gate.addressable_shards[0].data.size / gate.size,
        "losses": np.asarray(state.strategy.fitness).tolist(),
        "best": float(metrics.best_loss_G[0]),
        "failed": int(metrics.failed),
        "searched": [leaf.tobytes().hex() for leaf in host(searched)],
        "restored": back and [a.tobytes() == b.tobytes() for a, b in zip(back, saved)],
        "program": engine.step.func.as_text() if problem.mesh else "",
    })
    checkpoints.save(len(told), state)
    checkpoints.close()
    saved = host(state)
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> list[dict]:
    folder = tmp_path_factory.mktemp("eight")
    save_random(folder, EIGHT_HEADS)
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), str(tmp_path_factory.mktemp("scratch"))],
        capture_output=True,
        text=True,
        env=os.environ
        | {
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
            "PYTHONPATH": str(ROOT),
        },
        timeout=580,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_every_mesh_gives_the_same_losses(told):
    for each in told[1:]:
        np.testing.assert_allclose(each["losses"], told[0]["losses"], rtol=1e-5)
        np.testing.assert_allclose(each["best"], told[0]["best"], rtol=1e-5)
        assert each["failed"] == told[0]["failed"] == 0


def test_ask_and_tell_are_the_same_bytes_on_every_mesh(told):
    for each in told[1:]:
        assert each["searched"] == told[0]["searched"], each["shape"]


def test_each_device_holds_its_part(told):
    for each in told:
        population, model = each["shape"]
        assert each["part"] == 1 / (population * model)
        assert each["gate"] == 1 / model


def test_a_state_saved_on_one_mesh_comes_back_on_another(told):
    assert told[0]["restored"] is None
    for each in told[1:]:
        assert all(each["restored"]) and len(each["restored"]) > 10


def test_the_forward_talks_along_the_model_axis_only(told):
    for each in told[1:]:
        population, model = each["shape"]
        devices = population * model
        rows = {frozenset(row) for row in np.arange(devices).reshape(population, model).tolist()}
        forward = [
            found
            for found in collectives_of(each["program"], devices)
            if "/evaluate/" in found.scope and "/while/" in found.scope
        ]
        assert all(found.groups == rows for found in forward), each["shape"]
        # Two sums in each of the two layers, and one for the options.
        assert [found.kind for found in forward] == ["all-reduce"] * 5 * (model > 1)


def test_ask_and_tell_talk_to_nobody(told):
    for each in told[1:]:
        devices = np.prod(each["shape"])
        scopes = [found.scope for found in collectives_of(each["program"], devices)]
        assert scopes  # the redistribution, at least
        assert not [scope for scope in scopes if "/ask/" in scope or "/tell/" in scope]


def test_prompts_are_handed_out_once(told):
    for each in told[1:]:
        population, _ = each["shape"]
        devices = np.prod(each["shape"])
        found = collectives_of(each["program"], devices)
        dealt = [one.groups for one in found if one.kind == "all-to-all"]
        assert len(dealt) == (population > 1)
        columns = {frozenset(row) for row in np.arange(devices).reshape(each["shape"]).T.tolist()}
        assert all(over == columns for over in dealt)
