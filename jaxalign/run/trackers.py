"""Where a run is watched: TensorBoard, and Weights & Biases for who asks for it."""

import contextlib
import importlib
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from jaxalign.errors import UserError
from jaxalign.files import write_file

if TYPE_CHECKING:
    from jaxalign.report.ending import Ending

_BETWEEN_FLUSHES = 10.0  # seconds
WANDB_ID = "wandb_run_id"  # in a workdir: id of the run that a restart continues


class Tracker(Protocol):
    """Shows the records of a run while it lasts, and its result at the end."""

    def draw(self, record: Mapping[str, Any]) -> None:
        """Add a line of metrics.jsonl."""

    def show(self, ending: "Ending") -> None:
        """Add the plots and texts of a finished run."""

    def close(self, failed: bool) -> None:
        """Close it; `failed` says that an error ended the run."""


class TensorBoard:
    """Event files, rewritten at each start: those of a killed run lack what it had not flushed.

    They are written here and now: SummaryWriter's thread ends at a full disk, and the run would
    wait for it.

    Args:
      folder: emptied.
      notice: shown with the curves.

    Raises:
      OSError: it cannot be written; so do all methods but `close` after a failure.
    """

    def __init__(self, folder: Path, notice: str | None):
        # Loaded here, since it loads torch where there is one, which takes over a second.
        from tensorboardX.event_file_writer import EventsWriter

        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        self._events = EventsWriter(str(folder / "events"))
        self._flushed = 0.0
        if notice:
            self._add_text("notice", notice, 0)

    def draw(self, record: Mapping[str, Any]) -> None:
        """Add each number of a record as a point."""
        from tensorboardX.summary import scalar

        for name, value in numbers(record):
            self._add(scalar(name, value), record["generation"])
        if time.monotonic() - self._flushed > _BETWEEN_FLUSHES:
            self._events.flush()
            self._flushed = time.monotonic()

    def show(self, ending: "Ending") -> None:
        """Add plots as images and texts as Markdown."""
        from matplotlib.image import imread
        from tensorboardX.summary import image

        for name, path in ending.plots.items():
            self._add(image(name, imread(path), dataformats="HWC"), ending.generation)
        for name, text in ending.texts.items():
            self._add_text(name, text, ending.generation)
        self._events.flush()

    def close(self, failed: bool) -> None:
        """Flush and close."""
        try:
            self._events.close()
        except OSError:  # it flushes first, and leaves the file open where that fails
            with contextlib.suppress(OSError):
                self._events._py_recordio_writer.close()
            raise

    def _add(self, summary: Any, step: int) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._events.write_event(Event(wall_time=time.time(), step=step, summary=summary))

    def _add_text(self, name: str, text: str, step: int) -> None:
        from tensorboardX.summary import text as as_text

        self._add(as_text(name, text), step)


class WandB:
    """A run of Weights & Biases, which a restart of the same workdir continues.

    Args:
      project: of the user's account.
      workdir: where its files and the run's id are kept.
      config: shown with it, nested and plain.

    Raises:
      UserError: the service or the account refuses.
    """

    def __init__(self, project: str, workdir: Path, config: Mapping[str, Any]):
        self._package = package = import_wandb()
        kept = workdir / WANDB_ID
        if not kept.exists():
            write_file(kept, secrets.token_hex(4).encode())
        try:
            self._run = package.init(
                project=project,
                id=kept.read_text().strip(),
                name=workdir.resolve().name,
                config=dict(config),
                dir=str(workdir),
                resume="allow",
                settings=package.Settings(console="off"),  # the terminal is the progress bar's
            )
        except package.Error as error:
            raise UserError(
                f"--wandb={project}: {error} (WANDB_MODE=offline keeps it all in the workdir)"
            ) from error

    def draw(self, record: Mapping[str, Any]) -> None:
        """Logs a record, unless an earlier start did."""
        if record["generation"] >= self._run.starting_step:
            self._run.log(dict(numbers(record)), step=record["generation"])

    def show(self, ending: "Ending") -> None:
        """Logs the plots; the run's summary takes the losses and scores."""
        self._run.log({name: self._package.Image(str(path)) for name, path in ending.plots.items()})
        self._run.summary.update(dict(numbers(ending.summary)))

    def close(self, failed: bool) -> None:
        """Wait until all of it has been sent."""
        self._run.finish(exit_code=int(failed))


def import_wandb() -> Any:
    """Import the package.

    Raises:
      UserError: it is not installed.
    """
    try:
        return importlib.import_module("wandb")
    except ImportError:
        raise UserError(
            "--wandb: wandb is not installed; install jaxalign[wandb], or leave the flag out"
        ) from None


def numbers(record: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, float]]:
    """Return names and values of a record's numbers; what lies deeper is named with slashes."""
    for name, value in record.items():
        if isinstance(value, dict):
            yield from numbers(value, f"{place}{name}/")
        elif isinstance(value, (int, float)) and name != "generation":
            yield place + name, value
