"""The run's state on disk: Orbax, asynchronous, with a way back when the newest copy is damaged."""

import contextlib
import dataclasses
import gc
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from jaxalign.errors import UserError
from jaxalign.search.state import RunState

_LOG = logging.getLogger(__name__)
_BEST_LOSS = "best_loss"  # of a checkpoint, in its own metadata


class Checkpoints:
    """Saves and restores the states of one run, by generation.

    Kept are the latest two, the best, and every `keep`-th generation.

    Args:
      folder: of the checkpoints; made if it is missing.
      every: generations between saves.
      keep: period of the saves that stay for good; 0 for none.

    Raises:
      UserError: the folder cannot be written.
    """

    def __init__(self, folder: Path, every: int, keep: int):
        # Orbax logs each save, and failures twice: they reach us as exceptions.
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        _ignore_closed_loops()
        self._losses: dict[int, float] = {}
        preserved: list[policies.PreservationPolicy] = [
            policies.LatestN(2),
            _Best(self._losses),
        ]
        if keep:
            preserved.append(policies.EveryNSteps(keep))
        self._folder = folder
        self._every = every
        self._manager = _attempt(
            folder,
            lambda: ocp.CheckpointManager(
                folder.absolute(),
                options=ocp.CheckpointManagerOptions(
                    preservation_policy=policies.AnyPreservationPolicy(preserved),
                    cleanup_tmp_directories=True,
                    enable_async_checkpointing=True,
                ),
            ),
        )
        for step in self._manager.all_steps():
            with contextlib.suppress(Exception):  # whatever the damage makes Orbax raise
                self._losses[step] = self._manager.metadata(step).custom_metadata[_BEST_LOSS]

    def save(self, generation: int, state: RunState, force: bool = False) -> None:
        """Copy the state off the device and write it in the background; it may then be donated.

        A generation between two periods is passed over unless `force` is set; one that is already
        saved is left as it is.

        Raises:
          UserError: this or an earlier write failed, for instance because the disk is full.
        """
        passed_over = generation % self._every and not force
        if passed_over or generation in self._manager.all_steps():
            return
        self._losses[generation] = float(jnp.mean(state.metrics.best_loss_G))
        _attempt(
            self._folder,
            lambda: self._manager.save(
                generation,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state),
                    check=ocp.args.JsonSave({"fingerprint": int(fingerprint(state))}),
                ),
                custom_metadata={_BEST_LOSS: self._losses[generation]},
                force=True,
            ),
        )

    def restore(self, abstract_state: RunState) -> RunState | None:
        """Return the newest state that can be read; None if nothing was saved.

        A checkpoint that cannot be read is removed with a warning, and the one before is tried.

        Args:
          abstract_state: shapes and types of the state, and where it is to lie: the first device
            where nothing is said, whatever devices it was saved from.

        Raises:
          UserError: there are checkpoints and none of them can be read.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        for place, step in enumerate(steps):
            with _leftovers_ignored():
                state, reason = self._read(step, abstract_state)
            if state is not None:
                for damaged in steps[:place]:
                    self._manager.delete(damaged)
                return state
            _LOG.warning(
                "checkpoint %s/%d cannot be read and is passed over (%s)",
                self._folder,
                step,
                reason,
            )
        if steps:
            raise UserError(
                f"{self._folder}: none of the checkpoints {steps} can be read; give another "
                "--workdir, or delete this folder to start again"
            )
        return None

    def _read(self, step: int, abstract_state: RunState) -> tuple[RunState | None, str]:
        """Return the state of one checkpoint, or None and the reason."""
        placed = jax.tree.map(_placed, abstract_state)
        try:
            with ocp.StandardCheckpointer() as reader:
                described: Any = reader.metadata(self._folder.absolute() / str(step) / "state")
            item = _as_saved(placed, described.item_metadata.tree)
            args = ocp.args.Composite(
                state=ocp.args.StandardRestore(item), check=ocp.args.JsonRestore()
            )
            found = self._manager.restore(step, args=args)
            state = _as_now(placed, found["state"])
        except Exception as error:  # whatever the damage makes Orbax raise
            return None, " ".join(str(error).split())[:160] or type(error).__name__
        if int(fingerprint(state)) != found["check"]["fingerprint"]:
            return None, "its content is not what was saved"
        return state, ""

    def wait(self) -> None:
        """Wait until every save is durable.

        Raises:
          UserError: a write failed.
        """
        _attempt(self._folder, self._manager.wait_until_finished)

    def close(self) -> None:
        """Wait, then ends the background threads."""
        self.wait()
        self._manager.close()


def _placed(leaf: Any) -> jax.ShapeDtypeStruct:
    place = leaf.sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place)


def _as_saved(now: Any, saved: Any) -> Any:
    """Return a state without the fields that are None and were not there when it was saved.

    Orbax has names for these too, and refuses a checkpoint of before they were added.

    Args:
      now: the state, or a part of it.
      saved: names and their values as the checkpoint has them, nested.
    """
    if not dataclasses.is_dataclass(now) or not isinstance(saved, dict):
        return now
    fields = {each.name: getattr(now, each.name) for each in dataclasses.fields(now)}
    kept = {
        name: _as_saved(value, saved.get(name))
        for name, value in fields.items()
        if value is not None or name in saved
    }
    return now if all(kept.get(name, now) is value for name, value in fields.items()) else kept


def _as_now(now: Any, found: Any) -> Any:
    """Return what was restored of `_as_saved(now, …)` in the form of `now`."""
    if not dataclasses.is_dataclass(now) or not isinstance(found, dict):
        return found
    values = {name: _as_now(getattr(now, name), value) for name, value in found.items()}
    return dataclasses.replace(now, **values)  # type: ignore[type-var]


@dataclasses.dataclass
class _Best(policies.PreservationPolicy):
    """Keeps the step of the least loss, the newest of equal ones.

    Orbax's own BestN forgets the losses with the process, and then keeps every step it has found.
    """

    losses: dict[int, float]  # by step; those of an earlier process are read from its checkpoints

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        known = [found.step for found in checkpoints if found.step in self.losses]
        best = min(known, key=lambda step: (self.losses[step], -step), default=None)
        return [found.step == best for found in checkpoints]


@contextlib.contextmanager
def _leftovers_ignored() -> Iterator[None]:
    """Silence the coroutines that a failed read leaves behind."""
    before = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            yield
            gc.collect()
    finally:
        sys.unraisablehook = before


@jax.jit
def fingerprint(state: Any) -> jax.Array:
    """Return a uint32 checksum of a state, computed on its devices.

    Orbax stores no checksum of the values: bits that flipped on disk came back unnoticed.
    """
    total = jnp.uint32(0)
    for leaf in jax.tree.leaves(state):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        if leaf.dtype == jnp.bool_:
            leaf = leaf.astype(jnp.uint8)
        unsigned = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}[leaf.dtype.itemsize]
        words = jax.lax.bitcast_convert_type(leaf, unsigned).astype(jnp.uint32)
        # An odd factor for each place: a change of one bit cannot vanish modulo 2 ** 32. Places are
        # counted without flattening, which would gather a leaf that devices share.
        place = jnp.zeros(words.shape, jnp.uint32)
        for axis, size in enumerate(words.shape):
            along = jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
            place = place * jnp.uint32(size) + along
        odd = (2 * place + 1) * jnp.uint32(0x9E3779B1)
        total = total * jnp.uint32(31) + jnp.sum(words * odd, dtype=jnp.uint32)
    return total


def _ignore_closed_loops() -> None:
    """Silence writes that end after another has failed and Orbax has closed its loop."""
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            before(unraisable)

    sys.unraisablehook = hook


def _attempt(folder: Path, action: Callable[[], Any]) -> Any:
    """Run a write; faults of the file system become a UserError."""
    try:
        return action()
    except Exception as error:
        text = " ".join(str(error).split())
        if isinstance(error, OSError):
            reason = error.strerror or text
        elif any(sign in text for sign in _REFUSALS):
            reason = next(sign for sign in _REFUSALS if sign in text)
        else:
            raise
        raise UserError(
            f"{folder}: cannot write ({reason}); free space or give another --workdir"
        ) from error


_REFUSALS = (
    "No space left on device",
    "Disk quota exceeded",
    "Read-only file system",
    "Permission denied",
    "Input/output error",
)
