"""A population sharded over its coordinates: the same search on four devices as on one.

Ours and DE work elementwise over the coordinates, so that each device may hold its part of every
member: the same bytes, and no collective in ask or tell. The others sum over coordinates, and sums
round differently in parts. Four CPU devices stand in for accelerators, in a process of their own.
"""

import json
import os
import subprocess
import sys

import pytest

from jaxalign.search import strategy_names

PROGRAM = r"""
import json, re, sys
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxalign.search import make_strategy

P, L, D = 8, 2, 32  # L x D coordinates, 16 on each of four devices
mesh = jax.make_mesh((4,), ("coordinates",), axis_types=(AxisType.Auto,))
COLLECTIVE = re.compile(r"all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter")

def spec(leaf):
    # Whatever ends in the coordinates is sharded over them; all else is everywhere.
    if leaf.ndim and leaf.shape[-1] == L * D:
        return PartitionSpec(*[None] * (leaf.ndim - 1), "coordinates")
    return PartitionSpec()

def place(tree):
    return jax.tree.map(lambda leaf: jax.device_put(leaf, NamedSharding(mesh, spec(leaf))), tree)

def arrays(tree):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.asarray(leaf).dtype), tree)

def losses(vectors_PN):
    return np.sum(np.asarray(vectors_PN, np.float64) ** 2, axis=1).astype(np.float32)

def search(name, sharded):
    strategy = make_strategy(name, P, (L * D,), 0.3, {}, 6)
    first_PN = jax.random.normal(jax.random.key(0), (P, L * D))
    put = place if sharded else lambda tree: tree
    state = put(arrays(strategy.init(jax.random.key(1), strategy.params, first_PN,
                                     jnp.asarray(losses(first_PN)))))
    params, found, texts, steps = put(strategy.params), [], [], None
    for generation in range(5):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(2), generation))
        if steps is None:
            shapes = jax.eval_shape(strategy.ask, keys[0], params, state)
            kwargs = {}
            if sharded:
                kwargs = {"out_shardings": jax.tree.map(
                    lambda leaf: NamedSharding(mesh, spec(leaf)), shapes)}
            ask = jax.jit(strategy.ask, **kwargs).lower(keys[0], params, state).compile()
        vectors_PN, asked = ask(keys[0], params, state)
        loss_P = put(jnp.asarray(losses(vectors_PN)))
        if steps is None:
            shapes = jax.eval_shape(strategy.tell, keys[1], params, vectors_PN, loss_P, asked)
            if sharded:
                kwargs = {"out_shardings": jax.tree.map(
                    lambda leaf: NamedSharding(mesh, spec(leaf)), shapes)}
            tell = jax.jit(strategy.tell, **kwargs)
            tell = tell.lower(keys[1], params, vectors_PN, loss_P, asked).compile()
            steps = {"ask": ask, "tell": tell}
        state = arrays(tell(keys[1], params, vectors_PN, loss_P, asked))
        if sharded:
            assert vectors_PN.sharding.spec == PartitionSpec(None, "coordinates")
            if strategy.exchanges:
                assert state.population.addressable_shards[0].data.shape == (P, L * D // 4)
        found.append([np.asarray(leaf) for leaf in (vectors_PN, *jax.tree.leaves(state))
                      if not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)])
    seen = {step: sorted(set(COLLECTIVE.findall(compiled.as_text())))
            for step, compiled in steps.items()}
    return found, seen

row_sums = jax.jit(lambda x: jnp.sum(x, axis=1)).lower(place(jnp.ones((P, L * D)))).compile()
told = {"control": sorted(set(COLLECTIVE.findall(row_sums.as_text())))}
for name in sys.argv[1:]:
    alone, _ = search(name, False)
    sharded, seen = search(name, True)
    same = [all(a.tobytes() == b.tobytes() for a, b in zip(*each)) for each in zip(alone, sharded)]
    off = [max(float(np.max(np.abs(a - b) / (1e-2 + np.abs(a)), initial=0))
               for a, b in zip(*each) if a.dtype == np.float32 and np.isfinite(a).all())
           for each in zip(alone, sharded)]
    told[name] = {"same": same, "off": off, **seen}
print(json.dumps(told))
"""

NAMES = ("DifferentialEvolution", "jDE", "JADE", "SHADE", "LSHADE")


def search_sharded(*names: str) -> dict[str, dict]:
    flags = "--xla_force_host_platform_device_count=4"
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, *names],
        capture_output=True,
        text=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
        timeout=580,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def told() -> dict[str, dict]:
    return search_sharded(*NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_sharded_equals_unsharded_byte_for_byte(told, name):
    assert told[name]["same"] == [True] * 5


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("step", ["ask", "tell"])
def test_no_device_waits_for_another(told, name, step):
    assert told[name][step] == []


def test_what_needs_a_collective_is_seen_to(told):
    assert told["control"]


# Those that sum over coordinates; the others gave the same bytes as on one device.
SUMMING = ("CMAAnchoredLES", "CMA_ES", "CR_FM_NES", "DiffusionEvolution", "EvoTF_ES", "LM_MA_ES",
           "LearnedES", "MA_ES", "PGPE", "SNES", "Sep_CMA_ES", "iAMaLGaM_Full", "xNES")  # fmt: skip


@pytest.mark.nightly
def test_strategies_that_sum_search_alike_on_four_devices():
    assert set(SUMMING) <= set(strategy_names())
    for name, told in search_sharded(*SUMMING).items():
        if name != "control":
            # Its covariance begins with all eigenvalues equal, where any basis is a right one:
            # from the first update on, a rounding of the sums picks another.
            comparable = 2 if name == "CMA_ES" else 5
            assert max(told["off"][:comparable]) < 1e-2, name
