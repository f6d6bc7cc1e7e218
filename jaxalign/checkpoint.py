"""The run's state on disk: Orbax, asynchronous, with a way back when the newest copy is damaged."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from jaxalign.errors import UserError
from jaxalign.evolve import RunState

_STATE = "state"
_LOG = logging.getLogger(__name__)


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
        # Orbax tells each save on the absl log, and failures twice: they reach us as exceptions.
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        _ignore_closed_loops()
        preserved: list[policies.PreservationPolicy] = [
            policies.LatestN(2),
            policies.BestN(get_metric_fn=lambda metrics: metrics["best_loss"], reverse=True, n=1),
        ]
        if keep:
            preserved.append(policies.EveryNSteps(keep))
        self._folder = folder
        self._manager = _told(
            folder,
            lambda: ocp.CheckpointManager(
                folder.absolute(),
                options=ocp.CheckpointManagerOptions(
                    save_decision_policy=policies.FixedIntervalPolicy(every),
                    preservation_policy=policies.AnyPreservationPolicy(preserved),
                    cleanup_tmp_directories=True,
                    enable_async_checkpointing=True,
                ),
            ),
        )

    def save(self, state: RunState, force: bool = False) -> None:
        """Copies the state off the device and writes it in the background; it may then be donated.

        A generation between two periods is passed over unless `force` is set; one that is already
        saved is left as it is.

        Raises:
          UserError: this or an earlier write failed, for instance because the disk is full.
        """
        generation = int(state.metrics.generation)
        if generation in self._manager.all_steps():
            return
        _told(
            self._folder,
            lambda: self._manager.save(
                generation,
                args=ocp.args.Composite(**{_STATE: ocp.args.StandardSave(state)}),
                metrics={"best_loss": float(state.metrics.best_loss)},
                force=force,
            ),
        )

    def restore(self, abstract_state: RunState) -> RunState | None:
        """The newest state that can be read; None if nothing was saved.

        A checkpoint that cannot be read is removed with a warning, and the one before is tried.

        Args:
          abstract_state: shapes and types of the state.

        Raises:
          UserError: there are checkpoints and none of them can be read.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        args = ocp.args.Composite(**{_STATE: ocp.args.StandardRestore(abstract_state)})
        for place, step in enumerate(steps):
            try:
                state = self._manager.restore(step, args=args)[_STATE]
            except Exception as error:  # whatever the damage makes Orbax raise
                reason = " ".join(str(error).split())[:160] or type(error).__name__
                _LOG.warning(
                    "checkpoint %s/%d cannot be read and is passed over (%s)",
                    self._folder,
                    step,
                    reason,
                )
                continue
            for damaged in steps[:place]:
                self._manager.delete(damaged)
            return state
        if steps:
            raise UserError(
                f"{self._folder}: none of the checkpoints {steps} can be read; give another "
                "--workdir, or delete this folder to start again"
            )
        return None

    def wait(self) -> None:
        """Returns when every save is durable.

        Raises:
          UserError: a write failed.
        """
        _told(self._folder, self._manager.wait_until_finished)

    def close(self) -> None:
        """Waits, then ends the background threads."""
        self.wait()
        self._manager.close()


def _ignore_closed_loops() -> None:
    """Keeps quiet about writes that end after another has failed and Orbax has left its loop."""
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            before(unraisable)

    sys.unraisablehook = hook


def _told(folder: Path, action: Callable[[], Any]) -> Any:
    """Runs a write, and turns what the file system refuses into a line for the user."""
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
