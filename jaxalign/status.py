"""List runs: how far they are, how well they do, and whether they are alive.

    python -m jaxalign.status DIR … [--json]

Each DIR is the workdir of a run, or a folder that holds workdirs. A run is `running`; `stalled` if
its process lives but gives no sign within the time it has set itself; `stopped` by request; `done`;
`failed` with an error; or `dead` if its process ended without any of these.
"""

import contextlib
import itertools
import json
import math
import os
import socket
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from jaxalign import cli
from jaxalign.errors import UserError
from jaxalign.files import peek_json
from jaxalign.report import print_runs
from jaxalign.run.heartbeat import FINAL, NAME, is_held

_RATE_WINDOW = 16  # generations that the pace is taken over
_TAIL = 2**20  # bytes of metrics.jsonl that are read: many generations, even of many countries
_JSON = flags.DEFINE_bool("json", False, "Print a list of objects, for programs.")


def main(arguments: list[str]) -> None:
    """Run the command on workdirs, or folders of them."""
    show(map(Path, arguments), _JSON.value)


def show(folders: Iterable[Path], as_json: bool = False) -> None:
    """Print the runs in folders, as a table or as a list of JSON objects.

    Raises:
      UserError: a folder is none, or holds no run; the runs in the others are printed before.
    """
    found, faults = find_workdirs(folders)
    runs = [describe(workdir, time.time()) for workdir in found]
    if as_json and (runs or not faults):
        print(json.dumps(runs, indent=2))
    elif runs:
        print_runs(runs)
    if faults:
        raise UserError("; ".join(faults))


def find_workdirs(folders: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """Return the workdirs among these folders and right within them, each once, and what is none.

    Returns:
      The workdirs, and a text for each folder that is none or holds no run.
    """
    found: dict[Path, None] = {}
    faults = []
    for folder in folders:
        try:
            inside = [folder] if _is_workdir(folder) else sorted(folder.iterdir())
        except OSError as error:
            faults.append(
                f"{folder}: cannot be listed ({error.strerror}); give the workdir of a run, or a "
                "folder of such"
            )
            continue
        workdirs = list(filter(_is_workdir, inside))
        if not workdirs:
            faults.append(f"{folder}: neither the workdir of a run nor a folder that holds one")
        found |= dict.fromkeys(workdirs)
    return list(found), faults


def describe(workdir: Path, now: float) -> dict[str, Any]:
    """Return what is known of a run, None where it is not, as in a run that has just begun.

    Args:
      workdir: of the run; files that are missing or damaged count as empty.
      now: seconds since 1970.

    Returns:
      Plain values. `age` is the seconds since the last sign of life; `seconds_left` is null unless
      the run is in progress, `early_end` unless it ended before its last generation: the key that
      ended it.
    """
    record, beat = peek_json(workdir / "config.json"), peek_json(workdir / NAME)
    summary, records = peek_json(workdir / "summary.json"), _last_records(workdir / "metrics.jsonl")
    config, last = record.get("config", {}), records[-1] if records else {}
    search, generation = config.get("search", {}), last.get("generation")
    generations, early = beat.get("generations", search.get("generations")), None
    age = _age(workdir, beat, now)
    state = _state(workdir, beat, age, done=bool(summary))
    naive = record.get("naive_loss", summary.get("loss", {}).get("naive"))
    best = last.get("best_loss")
    if state == "done":  # what a noisy search saw as its best was measured again for the summary
        best = summary.get("loss", {}).get("best", best)
        early = summary.get("early_end", {}).get("by")
    candidates, seconds = _pace(records)
    goes_on = state in ("running", "stalled") and generations is not None and seconds is not None
    return {
        "workdir": str(workdir),
        "state": state,
        "country": config.get("country"),
        "model": config.get("model", {}).get("path"),
        "strategy": search.get("strategy"),
        "generation": generation,
        "generations": generations,
        "early_end": early,
        "best_loss": best,
        "naive_loss": naive,
        "share_of_naive": best / naive if naive and best is not None else None,
        "candidates_per_second": candidates,
        "seconds_left": (generations - generation) * seconds if goes_on else None,
        "age": age,
        "pid": beat.get("pid"),
        "host": beat.get("host"),
        "notice": record.get("notice"),
    }


def _is_workdir(folder: Path) -> bool:
    return any(os.path.isfile(folder / name) for name in (NAME, "metrics.jsonl"))


def _state(workdir: Path, beat: dict[str, Any], age: float | None, done: bool) -> str:
    """Return the state of a run: by its lock, or else by the age of its heartbeat."""
    told = beat.get(
        "state", "done" if done else "dead"
    )  # a run without a heartbeat, from an old version
    late = age is not None and age > beat.get("patience", math.inf)
    if is_held(workdir):
        return "stalled" if late else "running"
    if told in FINAL:
        return told
    return "dead" if late or beat.get("host") in (None, socket.gethostname()) else "running"


def _age(workdir: Path, beat: dict[str, Any], now: float) -> float | None:
    """Return seconds since the last beat, or without any since the last line of metrics."""
    signed, metrics = beat.get("time"), workdir / "metrics.jsonl"
    if signed is None and metrics.exists():
        signed = metrics.stat().st_mtime
    return None if signed is None else max(0.0, now - signed)


def _pace(records: Sequence[dict[str, Any]]) -> tuple[float | None, float | None]:
    """Candidates per second, and seconds per generation, over the last generations."""
    pairs = [
        (after["evaluations"] - before["evaluations"], after["seconds"])
        for before, after in itertools.pairwise(records[-_RATE_WINDOW - 1 :])
        if after.get("seconds")
    ]
    if not pairs:
        return None, None
    evaluations, seconds = map(sum, zip(*pairs, strict=True))
    return evaluations / seconds, seconds / len(pairs)


def _last_records(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines at the end of metrics.jsonl."""
    with contextlib.suppress(OSError, ValueError), path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL))
        lines = file.read().split(b"\n")
        return [json.loads(line) for line in lines[size > _TAIL : -1]]
    return []


if __name__ == "__main__":
    cli.run(main, positional="DIR, as in: python -m jaxalign.status runs")
