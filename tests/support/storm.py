"""Kills a run over and over at random moments, and compares its end with an undisturbed run's.

    python tests/support/storm.py --workdir=DIR [--kills=100] [--generations=100]
        [--processes=1] [--cold]

Moments are drawn anew for each kill: anywhere in the start-up, a few generations into the search,
or anywhere in the report. The last fifth of the kills may fall into the report. A kill may also hit
a run that is done and is being told again. Of several processes one is killed, or all at once;
those that are left end by themselves before the next start. While they load, it is all at once.
"""

import argparse
import collections
import dataclasses
import itertools
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paths import ROOT

TIMINGS = ("seconds", "tokens_per_second")
LOADING = "importing and loading"
LIMIT = 1800  # seconds that nothing in here takes
SAME_BYTES = ("*.safetensors", "report/*.png", "report/*.svg", "report/*.csv")


@dataclasses.dataclass(frozen=True)
class Pace:
    """Seconds of an undisturbed run."""

    start: float  # until it runs
    generation: float  # each
    report: float  # from the last generation to the end


class Storm:
    """One run, its undisturbed twins beside it, and what the kills hit."""

    def __init__(
        self, folder: Path, generations: int, seed: int, processes: int = 1, cold: bool = False
    ):
        self.folder, self.generations = folder, generations
        self._processes, self._cold = processes, cold
        self._random = random.Random(seed)
        self._output = folder / "output.txt"  # of the first process
        self.phases: collections.Counter[str] = collections.Counter()
        self.starts = self.ended_first = self.undone = 0
        self.resumed: list[int] = []
        folder.mkdir(parents=True, exist_ok=True)

    def begin(self, workdir: Path) -> list[subprocess.Popen]:
        """Starts the command, once for each process."""
        if self._cold:
            shutil.rmtree(self.folder / "compiled", ignore_errors=True)
        settings = {"search.generations": self.generations, "search.population": 8}
        command = [
            sys.executable,
            *("-m", "jaxalign.train", "--config=sa.py:embedded", f"--workdir={workdir}"),
            *(f"--config.{key}={value}" for key, value in settings.items()),
        ]
        environment = {
            "JAX_PLATFORMS": "cpu",
            **os.environ,
            "JAX_COMPILATION_CACHE_DIR": str(self.folder / "compiled"),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }
        if self._processes > 1:
            command.append("--distributed")
            environment |= {
                "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free_port()}",
                "JAX_NUM_PROCESSES": str(self._processes),
                "JAXALIGN_HEARTBEAT_SECONDS": "10",
            }
        started = []
        for number in range(self._processes):
            name = self._output if number == 0 else self.folder / f"output-{number}.txt"
            own = {"JAX_PROCESS_ID": str(number)} if self._processes > 1 else {}
            with name.open("w") as output:
                started.append(
                    subprocess.Popen(
                        command, stdout=output, stderr=subprocess.STDOUT, env=environment | own
                    )
                )
        return started

    def run_undisturbed(self, workdir: Path) -> Pace:
        """Runs to the end and measures."""
        begun, processes = time.monotonic(), self.begin(workdir)
        moments = [begun]
        for states in (("running",), ("finishing", "done")):
            self.wait_for(processes, workdir, states)
            moments.append(time.monotonic())
        self.finish(processes)
        moments.append(time.monotonic())
        start, search, report = (after - before for before, after in itertools.pairwise(moments))
        return Pace(start, search / self.generations, report)

    def kill_once(self, workdir: Path, pace: Pace, left: int, kills: int) -> bool:
        """Starts the run and kills it at a random moment; False if it ended before that."""
        told = len(read_records(workdir)) - 1
        processes = self.begin(workdir)
        self.starts += 1
        stage = self._random.choices(("start", "search", "report"), (3, 6, 3 * (left <= kills / 5)))
        if stage == ["start"]:
            seconds = pace.start
        elif stage == ["search"]:
            self.wait_for(processes, workdir, ("running", "finishing", "done"))
            # On average the share of this kill in the generations that are left.
            new = self._random.randint(0, max(1, round(2 * (self.generations - told) / left)))
            self.wait_until(processes, lambda: len(read_records(workdir)) > told + new)
            seconds = pace.generation
        else:
            self.wait_for(processes, workdir, ("finishing", "done"))
            seconds = pace.report
        time.sleep(self._random.uniform(0, seconds))
        states = [process.poll() for process in processes]
        assert set(states) <= {None, 0}, self.said()  # nothing has died by itself
        phase = phase_of(workdir, processes[0].pid)
        victims = self._random.choice([*([each] for each in processes), processes])
        if phase == LOADING:  # one that finds no others waits for minutes that they may come
            victims = processes
        for process in victims:
            process.kill()
        for process in processes:
            process.wait(LIMIT)
        for process in processes:
            # Survivors end by themselves: told in one line, or by JAX's own service.
            ended = process.returncode
            assert process in victims or ended in (0, 1, -signal.SIGABRT), (ended, self.said())
        self.check_resumed(told)
        if all(process.returncode != -signal.SIGKILL for process in victims):
            assert all(process.returncode == 0 for process in processes), self.said()
            self.ended_first += 1
            return False
        self.phases[phase] += 1
        check_whole(workdir)
        return True

    def check_resumed(self, told: int) -> None:
        """Notes where the last start went on, if it came so far: never before what was told."""
        resumed = re.search(r"^resumed +after generation (\d+)", self._output.read_text(), re.M)
        if resumed:
            self.resumed.append(int(resumed[1]))
            self.undone += max(0, told - int(resumed[1]))

    def wait_for(
        self, processes: list[subprocess.Popen], workdir: Path, states: tuple[str, ...]
    ) -> None:
        """Waits until the first process beats with one of these states, or ends."""

        def beats() -> bool:
            beat = read_json(workdir / "heartbeat.json")
            return beat.get("pid") == processes[0].pid and beat["state"] in states

        self.wait_until(processes, beats)

    def wait_until(self, processes: list[subprocess.Popen], holds: Callable[[], bool]) -> None:
        """Waits until something holds, or a process ends."""
        deadline = time.monotonic() + LIMIT
        while all(process.poll() is None for process in processes) and not holds():
            if time.monotonic() > deadline:
                for process in processes:
                    process.kill()
                raise AssertionError(f"no progress in {LIMIT} s: {self.said()}")
            time.sleep(0.02)

    def finish(self, processes: list[subprocess.Popen]) -> None:
        """Lets a run end."""
        for process in processes:
            assert process.wait(LIMIT) == 0, self.said()

    def said(self) -> str:
        """What the processes have printed since the last start."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("output*.txt")))


def storm(
    folder: Path,
    kills: int,
    generations: int,
    seed: int = 0,
    processes: int = 1,
    cold: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Runs undisturbed twice, then once with kills; gives the figures, after comparing the ends.

    Args:
      folder: empty or missing.
      kills: that hit a living process.
      generations: of the run.
      seed: of the moments.
      processes: that share the run.
      cold: whether each start compiles anew.
      say: takes lines of progress.

    Raises:
      AssertionError: with what differs.
    """
    run = Storm(folder, generations, seed, processes, cold)
    run.run_undisturbed(folder / "first")  # compiles, so the second tells the pace
    pace = run.run_undisturbed(folder / "undisturbed")
    assert_same_end(folder / "first", folder / "undisturbed")
    say(f"undisturbed: {pace}")
    begun, workdir, left = time.monotonic(), folder / "killed", kills
    while left:
        assert run.starts < 4 * kills + 10, "the runs end before they are killed"
        if run.kill_once(workdir, pace, left, kills):
            left -= 1
            say(f"{kills - left} kills, {len(read_records(workdir)) - 1} generations told")
    told = len(read_records(workdir)) - 1
    run.finish(run.begin(workdir))
    run.check_resumed(told)
    assert_same_end(workdir, folder / "undisturbed")
    assert run.undone == 0, f"{run.undone} generations were told of and then lost"
    return {
        "kills": kills,
        "processes": processes,
        "generations": generations,
        "starts": run.starts + 1,
        "ended before the kill": run.ended_first,
        "hit while": dict(run.phases.most_common()),
        "generations resumed from": len(set(run.resumed)),
        "told and run again": run.undone,
        "seconds": round(time.monotonic() - begun),
        "same end": True,
    }


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def phase_of(workdir: Path, pid: int) -> str:
    """What the first process is doing, by what it leaves."""
    beat = read_json(workdir / "heartbeat.json")
    state = beat.get("state") if beat.get("pid") == pid else None
    if state == "running" and any(workdir.glob("checkpoints/*tmp*")):
        return "writing a checkpoint"
    return {
        None: LOADING,
        "starting": "compiling and restoring",
        "running": "searching",
        "finishing": "reporting",
        "done": "ending",
    }.get(state, state)


def check_whole(workdir: Path) -> None:
    """What a kill leaves can be read; only the last line of metrics.jsonl may be cut."""
    for path in workdir.glob("*.json"):
        json.loads(path.read_text())
    lines = (workdir / "metrics.jsonl").read_text() if (workdir / "metrics.jsonl").exists() else ""
    numbers = [json.loads(line)["generation"] for line in lines.split("\n")[:-1]]
    assert numbers == list(range(len(numbers)))


def assert_same_end(one: Path, other: Path) -> None:
    """The files of two runs are equal byte for byte, their timings and their own paths apart."""
    files, checkpoints = names_of(one)
    files_of_other, checkpoints_of_other = names_of(other)
    assert files == files_of_other
    # A kill right after the last save may leave the checkpoint that this save made superfluous.
    surplus = len(checkpoints - checkpoints_of_other)
    assert checkpoints >= checkpoints_of_other and surplus <= 1, (checkpoints, checkpoints_of_other)
    assert read_records(one) == read_records(other)
    assert ends_of(one) == ends_of(other)


def ends_of(workdir: Path) -> dict[str, Any]:
    """What has to be equal: bytes by name, and summary.json without its timings."""
    paths = [path for pattern in SAME_BYTES for path in workdir.glob(pattern)]
    (newest,) = (p for p in workdir.glob("checkpoints/*") if p.name == str(newest_of(workdir)))
    # The fingerprint that covers every bit of the search's state.
    paths.append(newest / "check" / "metadata")
    ends: dict[str, Any] = {str(path.relative_to(workdir)): path.read_bytes() for path in paths}
    summary = read_json(workdir / "summary.json")
    return ends | {"summary": {key: summary[key] for key in summary if key not in TIMINGS}}


def newest_of(workdir: Path) -> int:
    """The last generation with a checkpoint."""
    return max(int(p.name) for p in workdir.glob("checkpoints/*") if p.name.isdigit())


def names_of(workdir: Path) -> tuple[set[str], set[str]]:
    """What lies in a workdir, but for event files, whose names hold the time; its checkpoints."""
    paths = [*workdir.glob("*"), *workdir.glob("report/*")]
    checkpoints = {path.name for path in workdir.glob("checkpoints/*")}
    return {str(path.relative_to(workdir)) for path in paths}, checkpoints


def read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def read_records(workdir: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without timings, and without a line that a kill has cut."""
    path = workdir / "metrics.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    records = map(json.loads, lines)
    return [{k: v for k, v in record.items() if k not in TIMINGS} for record in records]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--workdir", type=Path, required=True, help="a folder that is not there")
    parser.add_argument("--generations", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--cold", action="store_true", help="compile anew at each start")
    given = parser.parse_args()
    if given.workdir.exists():
        parser.error(f"--workdir={given.workdir} is there already")
    figures = storm(
        given.workdir,
        given.kills,
        given.generations,
        given.seed,
        given.processes,
        given.cold,
        say=lambda x: print(x, flush=True),
    )
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
