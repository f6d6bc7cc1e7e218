"""What is kept, what comes back, and what a full or damaged disk does."""

import logging
import os
import shutil
import subprocess
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxalign.errors import UserError
from jaxalign.run.checkpoint import Checkpoints, fingerprint
from jaxalign.search.state import Metrics, RunState


def make_state(generation: int, best_loss: float, size: int = 8) -> RunState:
    count, loss_G = jnp.int32(generation), jnp.full(1, best_loss, jnp.float32)
    return RunState(
        key=jax.random.key(generation),
        strategy={
            "population": best_loss + jax.random.normal(jax.random.key(7), (size,)),
            "flag": jnp.bool_(True),
        },
        params={"weight": jnp.float32(0.5)},
        best_prompt_GLD=jnp.ones((1, 2, 3)),
        best_scores_GC=jnp.zeros((1, 6)),
        front=None,
        metrics=Metrics(
            generation=count,
            evaluations=count,
            failed=count,
            best_loss_G=loss_G,
            generation_best_G=loss_G,
            generation_mean_G=loss_G,
            accepted_G=jnp.zeros(1, jnp.int32),
            prompt_norm_G=loss_G,
            terms_GO=loss_G[:, None],
        ),
    )


def fill(folder: Path, losses: list[float], every: int = 1, keep: int = 0, size: int = 8) -> None:
    checkpoints = Checkpoints(folder, every, keep)
    for generation, loss in enumerate(losses):
        checkpoints.save(generation, make_state(generation, loss, size))
    checkpoints.close()


def kept(folder: Path) -> set[int]:
    return {int(path.name) for path in folder.iterdir()}


def restore(folder: Path, size: int = 8) -> RunState | None:
    checkpoints = Checkpoints(folder, 1, 0)
    state = checkpoints.restore(jax.eval_shape(lambda: make_state(0, 0.0, size)))
    checkpoints.close()
    return state


def test_keeps_the_latest_two_the_best_and_every_kth(tmp_path):
    losses = [9.0, 8.0, 3.0, 7.0, 6.0, 5.0, 5.0, 5.0]
    fill(tmp_path / "a", losses)
    assert kept(tmp_path / "a") == {2, 6, 7}
    fill(tmp_path / "b", losses, keep=4)
    assert kept(tmp_path / "b") == {0, 2, 4, 6, 7}
    fill(tmp_path / "c", losses, every=3)
    assert kept(tmp_path / "c") <= {0, 3, 6} and 6 in kept(tmp_path / "c")


def test_what_is_kept_does_not_depend_on_restarts(tmp_path):
    losses = [9.0, 8.0, 3.0, 7.0, 6.0, 5.0, 5.0, 5.0]
    for generation, loss in enumerate(losses):
        checkpoints = Checkpoints(tmp_path / "a", 1, 4)
        checkpoints.save(generation, make_state(generation, loss))
        checkpoints.close()
    assert kept(tmp_path / "a") == {0, 2, 4, 6, 7}


def test_a_best_loss_that_never_falls_again_keeps_the_newest(tmp_path):
    fill(tmp_path / "a", [4.0] * 5)
    assert {3, 4} <= kept(tmp_path / "a")


def test_forced_and_repeated_saves(tmp_path):
    checkpoints = Checkpoints(tmp_path / "a", 3, 0)
    checkpoints.save(0, make_state(0, 5.0))
    checkpoints.save(1, make_state(1, 4.0))
    checkpoints.save(2, make_state(2, 4.0), force=True)
    checkpoints.save(2, make_state(2, 1.0), force=True)  # already there: left as it is
    checkpoints.close()
    assert kept(tmp_path / "a") == {0, 2}
    assert float(restore(tmp_path / "a").metrics.best_loss_G[0]) == 4.0


def test_every_leaf_comes_back_as_it_was(tmp_path):
    saved = make_state(5, 2.5)
    checkpoints = Checkpoints(tmp_path / "a", 1, 0)
    checkpoints.save(5, saved)
    checkpoints.close()
    state = restore(tmp_path / "a")
    assert jax.tree.structure(state) == jax.tree.structure(saved)
    for ours, theirs in zip(jax.tree.leaves(state), jax.tree.leaves(saved), strict=True):
        assert ours.dtype == theirs.dtype
        if jnp.issubdtype(ours.dtype, jax.dtypes.prng_key):
            ours, theirs = jax.random.key_data(ours), jax.random.key_data(theirs)
        assert not ours.weak_type
        np.testing.assert_array_equal(ours, theirs)


def test_the_state_may_be_donated_right_after_a_save(tmp_path):
    checkpoints = Checkpoints(tmp_path / "a", 1, 0)
    state = make_state(1, 3.0, size=200_000)
    checkpoints.save(1, state)
    for leaf in jax.tree.leaves(state):
        leaf.delete()
    checkpoints.close()
    checkpoints = Checkpoints(tmp_path / "a", 1, 0)
    state = checkpoints.restore(jax.eval_shape(lambda: make_state(0, 0.0, size=200_000)))
    expected = make_state(1, 3.0, size=200_000).strategy["population"]
    np.testing.assert_array_equal(state.strategy["population"], expected)
    checkpoints.close()


def test_nothing_to_restore(tmp_path):
    assert restore(tmp_path / "empty") is None


def damage(folder: Path, how: str) -> None:
    files = [file for file in folder.rglob("*") if file.is_file() and file.stat().st_size]
    for file in files:
        if how == "truncated":
            os.truncate(file, file.stat().st_size // 2)
        elif how == "emptied":
            os.truncate(file, 0)
        elif how == "deleted" and "manifest" in file.name:
            file.unlink()


@pytest.mark.parametrize("how", ["truncated", "emptied", "deleted"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, caplog, how):
    folder = tmp_path / "a"
    fill(folder, [3.0, 2.0, 1.0])
    damage(folder / "2", how)
    with caplog.at_level(logging.WARNING, logger="jaxalign.run.checkpoint"):
        state = restore(folder)
    assert int(state.metrics.generation) == 1
    # asyncio, too, may log what Orbax has left behind of the failed reading.
    (told,) = (each for each in caplog.records if each.name == "jaxalign.run.checkpoint")
    assert f"{folder}/2 cannot be read" in told.message
    assert 2 not in kept(folder)  # so that generation 2 can be saved again
    checkpoints = Checkpoints(folder, 1, 0)
    checkpoints.save(2, make_state(2, 0.5))
    checkpoints.close()
    assert float(restore(folder).metrics.best_loss_G[0]) == 0.5


@pytest.mark.nightly
def test_a_flipped_bit_is_noticed(tmp_path):
    folder, size = tmp_path / "a", 3000
    fill(folder, [3.0, 2.0, 1.0], size=size)
    values = (folder / "2" / "state" / "ocdbt.process_0" / "d").iterdir()
    biggest = max(values, key=lambda file: file.stat().st_size)
    content = bytearray(biggest.read_bytes())
    restored = set()
    for place in range(0, len(content), len(content) // 12):
        flipped = content.copy()
        flipped[place] ^= 4
        biggest.write_bytes(flipped)
        state = restore(copied(folder, tmp_path / str(place)), size)
        # Some bits of the file hold nothing; what comes back is in any case what was saved.
        generation = int(state.metrics.generation)
        restored.add(generation)
        expected = make_state(generation, 3.0 - generation, size)
        assert int(fingerprint(state)) == int(fingerprint(expected))
    assert 1 in restored


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 7), st.integers(0, 31))
def test_any_bit_changes_the_fingerprint(place, bit):
    state = make_state(3, 1.5)
    words = np.array(state.strategy["population"]).view(np.uint32)
    words[place] ^= np.uint32(1 << bit)
    other = state.replace(strategy=state.strategy | {"population": words.view(np.float32)})
    assert int(fingerprint(other)) != int(fingerprint(state))


def copied(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to


def test_when_all_are_damaged_nothing_is_deleted(tmp_path):
    folder = tmp_path / "a"
    fill(folder, [3.0, 2.0])
    for step in (0, 1):
        damage(folder / str(step), "truncated")
    with pytest.raises(UserError, match=r"none of the checkpoints \[1, 0\] can be read"):
        restore(folder)
    assert kept(folder) == {0, 1}


def test_a_half_written_checkpoint_is_ignored(tmp_path):
    folder = tmp_path / "a"
    fill(folder, [3.0, 2.0])
    (folder / "2.orbax-checkpoint-tmp").mkdir()
    assert int(restore(folder).metrics.generation) == 1


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        Checkpoints(tmp_path / "file" / "checkpoints", 1, 0)


def test_a_full_disk_is_told(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only a superuser may mount the small disk")
    try:
        checkpoints = Checkpoints(small / "checkpoints", 1, 0)
        with pytest.raises(UserError, match="No space left on device"):
            for generation in range(4):
                state = make_state(generation, 1.0, size=20_000)
                checkpoints.save(generation, state)
                checkpoints.wait()
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)
