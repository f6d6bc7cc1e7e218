"""Commands that measure the entries of docs/results.json; `docs/results.py` calls them."""

import csv
import datetime
import importlib.metadata
import json
import platform
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BEFORE = "605a42f"  # the revision before the package was laid out in rooms
COUNTRIES = {"sa": "Saudi Arabia", "cn": "China", "in": "India", "us": "United States"}
METHODS = ("Gauss-Newton (default)", "L-SHADE", "DE as evosax ships it", "scipy DE",
           "cma in the subspace", "random search", "gradient (Adam)")  # fmt: skip

Entries = dict[str, dict[str, Any]]


def run(*arguments: str, check: bool = True) -> str:
    """Run a command from the root, show its output as it comes, and return it."""
    print("$", shlex.join(arguments), file=sys.stderr, flush=True)
    lines = []
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    for line in process.stdout:
        print(line, end="", file=sys.stderr, flush=True)
        lines.append(line)
    if process.wait() and check:
        raise subprocess.CalledProcessError(process.returncode, arguments)
    return "".join(lines)


def jaxalign(command: str, *flags: str) -> str:
    """Run a command of the package with this Python."""
    return run(sys.executable, "-m", f"jaxalign.{command}", *flags)


def git(*arguments: str) -> str:
    """Return what a git command prints."""
    return subprocess.check_output(("git", *arguments), cwd=ROOT, text=True).strip()


def loss(value: float) -> str:
    """Return a loss with one decimal, or two digits below 1."""
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def measure_defaults(folder: Path, quick: bool) -> Entries:
    """Train and evaluate the default configs side by side; renew the pictures in docs/images."""
    small = ("--config.search.generations=2", "--config.search.population=8") if quick else ()
    rows, printed = [], folder / "sa.txt"
    for code in COUNTRIES:
        flags = (f"--config={code}.py:embedded", f"--workdir={folder / code}", *small)
        out = jaxalign("train", *flags)
        if code == "sa" and not printed.exists():
            printed.write_text(out)
    for code, name in COUNTRIES.items():
        cells = evaluated(folder / code)
        rows.append([name, *cells.values()])
    if not quick:
        for plot, name in (("radar", "scores"), ("convergence", "convergence")):
            image = folder / "sa" / "report" / f"{plot}.png"
            shutil.copyfile(image, ROOT / "docs" / "images" / f"{name}.png")
    command = "python -m jaxalign.train --config=NAME.py:embedded"
    return {
        "defaults": {
            "command": f"{command}, then python -m jaxalign.evaluate",
            "columns": ["L1 loss", *cells],
            "rows": rows,
        },
        "transcript": {"command": "./launch/local.sh", "text": shorten(printed.read_text())},
    }


def evaluated(workdir: Path) -> dict[str, str]:
    """Evaluate a run; return its losses beside those of the baselines, by column."""
    jaxalign("evaluate", f"--workdir={workdir}")
    summary = json.loads((workdir / "summary.json").read_text())
    found = json.loads((workdir / "evaluation.json").read_text())
    losses = {method["name"]: method["loss"] for method in found["methods"]}
    test = {kind: f["held_out"] for kind, f in found["robustness"]["summary"].items()}
    low, high = found["robustness"]["summary"]["tuned"]["interval"]
    cells = {
        "constant answer": summary["loss"]["constant"],
        "naive": summary["loss"]["naive"],
        "in-context, best of 8": min(v for k, v in losses.items() if k.startswith("in-cont")),
        "persona, median": losses["persona (median)"],
        "tuned": summary["loss"]["best"],
        "naive, test": test["naive"],
        "persona, test": test["persona"],
        "tuned, test": test["tuned"],
    }
    shown = {column: loss(value) for column, value in cells.items()}
    shown["tuned, test"] += f" ({loss(low)} to {loss(high)})"
    return shown | {"seconds of the search": f"{summary['seconds']:.0f}"}


def one_level_changed(workdir: Path) -> dict[str, str]:
    """Return mean losses of naive and tuned where one level is new and all else as usual."""
    rows = json.loads((workdir / "evaluation.json").read_text())["robustness"]["rows"]
    alone = [row for row in rows if row["part"] == "alone"]
    usual, cells, below = rows[0]["levels"], {}, 0
    for factor in usual:
        pairs = [[row["methods"][method]["loss"] for method in ("naive", "tuned")]
                 for row in alone if row["levels"][factor] != usual[factor]]  # fmt: skip
        naive, tuned = map(statistics.mean, zip(*pairs, strict=True))
        cells[f"{factor} ({len(pairs)})"] = f"{loss(naive)} → {loss(tuned)}"
        below += sum(tuned < naive for naive, tuned in pairs)
    return cells | {"below naive": f"{below} of {len(alone)}"}


def shorten(printed: str) -> list[str]:
    """Return the lines of a run's output that the README shows."""
    lines = [line.rstrip() for line in printed.splitlines()]
    header = [line for line in lines if re.match(r"formats|token trie|generation  |naive", line)]
    progress = [line for line in lines if re.match(r"generation \d+/", line)]
    start = next(n for n, line in enumerate(lines) if line.startswith("Scores: "))
    tables = [line for line in lines[start:] if not line.startswith("Note")]
    end = next(n for n, line in enumerate(tables) if line.startswith("  tuned "))
    shown = [line for line in tables[: end + 1] if line]
    shown.insert(shown.index("Loss (L1)"), "")
    return [*header, "", *progress[:2], "…", progress[-1], "", *shown]


def measure_real(folder: Path, quick: bool) -> Entries:
    """Search for four countries on the small real model in one format, and evaluate."""
    flags = ("--config.objective.formats=identity",
             f"--config.search.generations={1 if quick else 18}")  # fmt: skip
    rows, table, one_level = [], [], []
    for code, name in COUNTRIES.items():
        workdir = folder / code
        if not (workdir / "summary.json").exists():
            jaxalign("train", f"--config={code}.py:smollm2", f"--workdir={workdir}", *flags)
        lines = (workdir / "metrics.jsonl").read_text().splitlines()
        best = {one["evaluations"]: one["best_loss"] for one in map(json.loads, lines)}
        summary = json.loads((workdir / "summary.json").read_text())
        naive, last = summary["loss"]["naive"], max(best)
        half = next((str(spent) for spent in sorted(best) if best[spent] <= naive / 2), "–")
        cells = [naive, best.get(160, best[last]), best[last]]
        rows.append([name, *map(loss, cells), f"{best[last] / naive:.0%}", half])
        paper = evaluated(workdir)
        table.append([name, *paper.values()])
        one_level.append([name, *one_level_changed(workdir).values()])
    if not quick:
        image = folder / "sa" / "report" / "convergence.png"
        shutil.copyfile(image, ROOT / "docs" / "images" / "real.png")
    command = f"python -m jaxalign.train --config=NAME.py:smollm2 {shlex.join(flags)}"
    return {
        "real": {
            "command": f"{command}, then python -m jaxalign.evaluate",
            "columns": ["L1 loss on SmolLM2-135M", *paper],
            "rows": table,
        },
        "real-one-level": {
            "command": f"{command}, then python -m jaxalign.evaluate",
            "columns": ["naive → tuned, one level changed", *one_level_changed(workdir)],
            "rows": one_level,
        },
        "real-search": {
            "command": command,
            "columns": ["L1 loss on SmolLM2-135M", "naive", "after 160 evaluations", "after 304",
                        "share of naive", "evaluations to half of naive"],
            "rows": rows,
        }
    }  # fmt: skip


def measure_presentations(folder: Path, quick: bool) -> Entries:
    """Descend on two and on sixteen presentations of the small real model, test each prompt."""
    steps = 1 if quick else 60
    flags = ("--config=us.py:smollm2", "--config.search.strategy=LSHADE",
             "--config.search.population=8", "--config.search.generations=1",
             f"--config.search.polish={steps}")  # fmt: skip
    rows = []
    for formats, at_a_time in (("identity,reversed", 0), ("pool:16", 4)):
        workdir = folder / formats.replace(":", "-").replace(",", "-")
        asked = (f"--config.objective.formats={formats}",
                 f"--config.objective.at_a_time={at_a_time}")  # fmt: skip
        if not (workdir / "summary.json").exists():
            jaxalign("train", *flags, *asked, f"--workdir={workdir}")
        tested, prompt = workdir / "tested", workdir / "soft_prompt_polished.safetensors"
        if not (tested / "evaluation.json").exists():
            jaxalign("evaluate", *flags, *asked, f"--prompt={prompt}", f"--workdir={tested}")
        found = json.loads((tested / "evaluation.json").read_text())["robustness"]["summary"]
        low, high = found["tuned"]["interval"]
        cells = [found["naive"]["seen"], found["tuned"]["seen"], found["naive"]["held_out"],
                 found["persona"]["held_out"], found["tuned"]["held_out"]]  # fmt: skip
        rows.append([f"`{formats}`", *map(loss, cells)])
        rows[-1][-1] += f" ({loss(low)} to {loss(high)})"
    command = f"python -m jaxalign.train {shlex.join(flags)} --config.objective.formats=FORMATS"
    command += " --config.objective.at_a_time=K"
    return {
        "presentations": {
            "command": f"{command}, then python -m jaxalign.evaluate --prompt=WORKDIR/soft_prompt_"
            "polished.safetensors with the same keys",
            "columns": ["L1 loss, United States, gradient", "naive, tuned on", "tuned, tuned on",
                        "naive, test", "persona, test", "tuned, test"],
            "rows": rows,
        }
    }  # fmt: skip


def measure_speed(folder: Path, quick: bool) -> Entries:
    """Measure the throughput beside transformers on torch, at two sizes."""
    rows, shares = [], []
    flags = ("--peer=transformers", f"--config.search.population={2 if quick else 16}",
             "--config.prompt.length=16", "--config.objective.formats=identity")  # fmt: skip
    points = [("4x256", "float32"), ("8x512", "float32"), ("8x512", "bfloat16")]
    for shape, dtype in points[: 1 if quick else 3]:
        label = shape if dtype == "float32" else f"{shape}, {dtype}"
        output = folder / f"{shape}-{dtype}"
        measured = output / "benchmark.json"
        if not measured.exists():
            options = (f"--model={shape}", f"--config.model.dtype={dtype}", *flags)
            jaxalign("benchmark", "--config=sa.py:embedded", *options, f"--output={output}")
        figures = json.loads(measured.read_text())
        peer, seconds = figures["peer"], figures["seconds"]
        ours, theirs = peer["ours_candidates_per_second"], peer["candidates_per_second"]
        spread = f"{peer['ratio']:.1f} ({peer['ratio_least']:.1f} to {peer['ratio_most']:.1f})"
        equal = f"to {peer['losses']['largest_difference']:.0e}"
        rows.append([label, f"{ours:.3g}", f"{theirs:.3g} ({peer['batch']})", spread, equal])
        cells = [f"{seconds[part] / seconds['generation']:.2%}" for part in ("ask_tell", "host")]
        checkpoint, ceiling = f"{1000 * seconds['checkpoint']:.0f} ms", "share_by_operations"
        shares.append([label, *cells, checkpoint, f"{figures[ceiling]:.0%}"])
    command = "python -m jaxalign.benchmark --config=sa.py:embedded --model=SHAPE"
    command += " --config.model.dtype=TYPE"
    origin = {"command": f"{command} {shlex.join(flags)}", "packages": ("torch", "transformers")}
    speed = ["random Llama, layers x width", "jaxalign, candidates/s",
             "transformers, candidates/s (its best batch)", "ratio, median (range)",
             "losses equal"]  # fmt: skip
    parts = ["shape", "ask and tell", "host", "checkpoint",
             "operations, share of a 2048³ product"]  # fmt: skip
    notes = ["The first two columns are shares of a generation. A checkpoint is written while the "
             "next generation runs."]  # fmt: skip
    return {
        "speed": origin | {"columns": speed, "rows": rows},
        "shares": origin | {"columns": parts, "rows": shares, "notes": notes},
    }


def measure_compare(folder: Path, quick: bool) -> Entries:
    """Compare search methods at equal numbers of evaluations."""
    size = ("--seeds=1", "--evaluations=128") if quick else ("--seeds=3", "--evaluations=2000")
    flags = ("--config=sa.py:embedded", "--countries=sa,us", *size,
             f"--methods={','.join(METHODS)}")  # fmt: skip
    jaxalign("compare", *flags, f"--output={folder}")
    finals: dict[tuple[str, str], dict[str, float]] = {}
    with (folder / "histories.csv").open(newline="") as file:
        for line in csv.DictReader(file):  # the last line of a search has its final loss
            of_method = finals.setdefault((line["method"], line["country"]), {})
            of_method[line["seed"]] = float(line["best_loss"])

    def cell(method: str, code: str) -> str:
        losses = sorted(finals[method, code].values())
        return f"{loss(statistics.median(losses))} ({loss(losses[0])} to {loss(losses[-1])})"

    return {
        "compare": {
            "command": shlex.join(["python", "-m", "jaxalign.compare", *flags]),
            "columns": ["final loss, median (range) of 3 seeds", "Saudi Arabia", "United States"],
            "rows": [[method, cell(method, "SA"), cell(method, "US")] for method in METHODS],
        }
    }


def measure_lines(folder: Path, quick: bool) -> Entries:
    """Count the Python lines of the package by room, before and now."""
    counts = []
    for revision in (BEFORE, "HEAD"):
        names = git("ls-tree", "-r", "--name-only", revision, "jaxalign").splitlines()
        rooms: dict[str, int] = {}
        for name in names:
            if name.endswith(".py"):
                _, room, *rest = name.split("/")
                room = f"{room}/" if rest else "top level"
                rooms[room] = rooms.get(room, 0) + git("show", f"{revision}:{name}").count("\n") + 1
        counts.append(rooms | {"all": sum(rooms.values())})
    before, now = counts
    rooms = sorted((before.keys() | now.keys()) - {"all", "top level"})
    rows = [
        [room, *(f"{count[room]:,}" if room in count else "–" for count in counts)]
        for room in (*rooms, "top level", "all")
    ]
    return {
        "lines": {
            "command": "python docs/results.py measure lines",
            "columns": ["Python lines of jaxalign/", f"revision {BEFORE}", "now"],
            "rows": rows,
        }
    }


def measure_suite(folder: Path, quick: bool, tiers: Iterable[str] = ("unit", "process")) -> Entries:
    """Time test tiers as launch/test.sh runs them; failures are part of the result."""
    rows = []
    for tier in tiers:
        start = time.perf_counter()
        paths = ("--collect-only", f"tests/{tier}") if quick else (f"tests/{tier}",)
        out = run(sys.executable, "-m", "pytest", "--numprocesses=2", "--dist=loadfile", "-q",
                  *paths, check=False)  # fmt: skip
        last = next(line for line in reversed(out.splitlines()) if re.search(r" in [\d.]+s", line))
        seconds = time.perf_counter() - start
        rows.append([tier, last.strip("= ").split(" in ")[0], f"{seconds:.0f}"])
    return {
        "suite": {
            "command": "pytest --numprocesses=2 --dist=loadfile tests/TIER",
            "columns": ["tier", "tests", "seconds"],
            "rows": rows,
        }
    }


def measure_nightly(folder: Path, quick: bool) -> Entries:
    """Time the nightly tier."""
    return {"nightly": measure_suite(folder, quick, ["nightly"])["suite"]}


MEASURE: dict[str, Callable[[Path, bool], Entries]] = {
    "defaults": measure_defaults,
    "real": measure_real,
    "speed": measure_speed,
    "compare": measure_compare,
    "lines": measure_lines,
    "suite": measure_suite,
    "nightly": measure_nightly,
}


def measure(names: Iterable[str], quick: bool = False) -> Iterator[tuple[str, Entries | None]]:
    """Measure entries one after the other; yield a name and its entries, None for a failure."""
    revision = git("rev-parse", "--short", "HEAD")
    if git("status", "--porcelain", "--", "jaxalign", "configs", "tests"):
        revision += " with changes"
    where = {"hardware": hardware(), "date": datetime.date.today().isoformat()}
    for name in names:
        kind = "quick" if quick else revision.replace(" ", "-")
        folder = ROOT / "runs" / "results" / kind / name
        folder.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        print(f"== {name}, in {folder.relative_to(ROOT)}", file=sys.stderr, flush=True)
        try:
            entries = MEASURE[name](folder, quick)
        except (
            subprocess.CalledProcessError,
            OSError,
            LookupError,
            ValueError,
            StopIteration,
        ) as e:
            print(f"== {name} failed: {e!r}", file=sys.stderr, flush=True)
            yield name, None
            continue
        print(f"== {name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
        for entry in entries.values():
            packages = ("jax", "flax", "evosax", *entry.pop("packages", ()))
            versions = {package: importlib.metadata.version(package) for package in packages}
            entry["versions"] = {"python": platform.python_version()} | versions
            entry |= where | {"revision": revision}
        yield name, entries


def hardware() -> str:
    """Return the machine in words, as a run's summary has it."""
    from jaxalign.run.provenance import describe_device

    return describe_device()
