"""Measured results: docs/results.json, and the texts that show its figures.

    python docs/results.py measure NAME…    run the commands of an entry and store what they give
    python docs/results.py write            renew the figures in README.md, docs/ and configs/
    python docs/results.py check            exit with 1 where a shown figure differs from the file

An entry has the command, hardware, date, versions and revision of its measurement, and a table.
In Markdown a table stands between `<!-- results: NAME -->` and `<!-- end -->`; one figure, the cell
of a row and a column, between `<!-- r: NAME/ROW/COLUMN -->` and `<!-- /r -->`. A config's docstring
has "loss from A to B".
"""

import csv
import datetime
import importlib.metadata
import json
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "docs" / "results.json"
BEFORE = "605a42f"  # the revision that line counts are compared with
COUNTRIES = {"sa": "Saudi Arabia", "cn": "China", "in": "India", "us": "United States"}
_TABLE = re.compile(r"(<!-- results: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
_FIGURE = re.compile(r"(<!-- r: ([^/]+)/([^/]+)/([^/]+?) -->).*?(<!-- /r -->)", re.DOTALL)
_CONFIG = re.compile(r"loss from [\d.,]+ to [\d.,]+")


def run(*arguments: str) -> str:
    """Run a command from the root and return its output; its errors go to the terminal."""
    print("$", shlex.join(arguments), file=sys.stderr, flush=True)
    return subprocess.run(arguments, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def jaxalign(command: str, *flags: str) -> str:
    """Run a command of the package with this Python."""
    return run(sys.executable, "-m", f"jaxalign.{command}", *flags)


def loss(value: float) -> str:
    """Write a loss as the reports do."""
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def measure_defaults(folder: Path) -> dict[str, Any]:
    """Run and evaluate the four default configs side by side."""
    rows = []
    for code in COUNTRIES:
        jaxalign("train", f"--config={code}.py:embedded", f"--workdir={folder / code}")
    for code, name in COUNTRIES.items():
        jaxalign("evaluate", f"--workdir={folder / code}")
        summary = json.loads((folder / code / "summary.json").read_text())
        found = json.loads((folder / code / "evaluation.json").read_text())
        methods = {method["name"]: method["loss"] for method in found["methods"]}
        in_context = min(each for name, each in methods.items() if name.startswith("in-context"))
        formats = found["robustness"]["summary"]
        losses = [
            *(summary["loss"][kind] for kind in ("constant", "naive")),
            in_context,
            methods["persona (median)"],
            summary["loss"]["best"],
            *(formats[kind]["held_out"] for kind in ("naive", "persona", "tuned")),
        ]
        rows.append([name, *map(loss, losses), f"{summary['seconds']:.0f}"])
    return {
        "command": "python -m jaxalign.train --config=NAME.py:embedded, then jaxalign.evaluate",
        "columns": ["L1 loss", "constant answer", "naive", "in-context, best of 8",
                    "persona, median", "tuned", "naive, held out", "persona, held out",
                    "tuned, held out", "seconds of search"],
        "rows": rows,
    }  # fmt: skip


def measure_speed(folder: Path) -> dict[str, Any]:
    """Compare the throughput with transformers on torch, at two sizes."""
    rows = []
    for shape in ("4x256", "8x512"):
        jaxalign(
            "benchmark", "--config=sa.py:embedded", f"--model={shape}", "--peer=transformers",
            "--config.search.population=16", "--config.prompt.length=16",
            "--config.objective.formats=identity", f"--output={folder / shape}",
        )  # fmt: skip
        peer = json.loads((folder / shape / "benchmark.json").read_text())["peer"]
        ours, theirs = peer["ours_candidates_per_second"], peer["candidates_per_second"]
        spread = f"{peer['ratio_least']:.1f} to {peer['ratio_most']:.1f}"
        rows.append([shape, f"{ours:.3g}", f"{theirs:.3g}", f"{peer['ratio']:.1f}", spread])
    return {
        "command": "python -m jaxalign.benchmark --config=sa.py:embedded --model=SHAPE "
        "--peer=transformers --config.search.population=16 --config.prompt.length=16 "
        "--config.objective.formats=identity",
        "columns": ["layers x width", "jaxalign, candidates/s", "transformers, candidates/s",
                    "ratio", "range"],
        "rows": rows,
    }  # fmt: skip


METHODS = ("L-SHADE (default)", "DE as evosax ships it", "scipy DE", "cma in the subspace",
           "random search", "gradient (Adam)")  # fmt: skip


def measure_compare(folder: Path) -> dict[str, Any]:
    """Compare search methods at equal evaluations; resumes what is in the folder."""
    flags = [
        "--config=sa.py:embedded", "--countries=sa,us", "--seeds=3", "--evaluations=2000",
        f"--methods={','.join(METHODS)}",
    ]  # fmt: skip
    jaxalign("compare", *flags, f"--output={folder}")
    finals: dict[tuple[str, str], dict[str, float]] = {}
    with (folder / "histories.csv").open(newline="") as file:
        for line in csv.DictReader(file):  # the last line of a search has its final loss
            of_method = finals.setdefault((line["method"], line["country"]), {})
            of_method[line["seed"]] = float(line["best_loss"])
    rows = [
        [method, *(loss(statistics.median(finals[method, code].values())) for code in ("SA", "US"))]
        for method in METHODS
    ]
    return {
        "command": shlex.join(["python", "-m", "jaxalign.compare", *flags]),
        "columns": ["median final loss of 3 seeds", "Saudi Arabia", "United States"],
        "rows": rows,
    }


def _lines(revision: str) -> dict[str, int]:
    """Count Python lines of each part of the package at a revision."""
    names = run("git", "ls-tree", "-r", "--name-only", revision, "jaxalign").split()
    counts: dict[str, int] = {}
    for name in names:
        if name.endswith(".py"):
            parts = name.split("/")
            part = f"{parts[1]}/" if len(parts) > 2 else "top level"
            text = run("git", "show", f"{revision}:{name}")
            counts[part] = counts.get(part, 0) + text.count("\n")
    return counts | {"in all": sum(counts.values())}


def measure_lines(folder: Path) -> dict[str, Any]:
    """Count the package's lines now and at the revision before the layout of now."""
    before, after = _lines(BEFORE), _lines("HEAD")
    parts = sorted((before.keys() | after.keys()) - {"in all", "top level"})
    rows = [
        [part, str(before.get(part, "")), str(after.get(part, ""))]
        for part in [*parts, "top level", "in all"]
    ]
    return {
        "command": "python docs/results.py measure lines",
        "columns": ["Python lines of jaxalign/", BEFORE, "now"],
        "rows": rows,
    }


def measure_suite(folder: Path) -> dict[str, Any]:
    """Time the test tiers, as launch/test.sh runs them."""
    rows = []
    for tier in ("unit", "process"):
        start = time.perf_counter()
        out = run(sys.executable, "-m", "pytest", "--numprocesses=2", "--dist=loadfile", "-q",
                  f"tests/{tier}")  # fmt: skip
        rows.append([tier, out.splitlines()[-1].strip("= "), _minutes(time.perf_counter() - start)])
    return {
        "command": "pytest --numprocesses=2 --dist=loadfile tests/TIER",
        "columns": ["tier", "result", "minutes"],
        "rows": rows,
    }


def _minutes(seconds: float) -> str:
    return f"{seconds // 60:.0f}:{seconds % 60:02.0f}"


MEASURE: dict[str, Callable[[Path], dict[str, Any]]] = {
    "defaults": measure_defaults,
    "speed": measure_speed,
    "compare": measure_compare,
    "lines": measure_lines,
    "suite": measure_suite,
}


def measure(names: Iterable[str], folder: Path | None = None) -> None:
    """Measure entries and store them, one after the other."""
    for name in names:
        with tempfile.TemporaryDirectory() as scratch:
            found = MEASURE[name](folder or Path(scratch))
        entries = json.loads(FILE.read_text())
        entries[name] = found | {
            "hardware": _hardware(),
            "date": datetime.date.today().isoformat(),
            "versions": {each: importlib.metadata.version(each) for each in ("jax", "flax")},
            "revision": run("git", "rev-parse", "--short", "HEAD").strip(),
        }
        FILE.write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n")


def _hardware() -> str:
    import jax

    from jaxalign.run.provenance import describe_device

    jax.devices()
    return describe_device()


def table(entry: dict[str, Any]) -> str:
    """Return an entry as a Markdown table with its origin below."""
    lines = [entry["columns"], ["---"] * len(entry["columns"]), *entry["rows"]]
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    origin = [entry.get(key) for key in ("hardware", "date")]
    versions = ", ".join(f"{name} {number}" for name, number in entry.get("versions", {}).items())
    revision = f"revision {entry['revision']}" if entry.get("revision") else ""
    about = ", ".join(each for each in (*origin, versions, revision) if each)
    command = f": `{entry['command']}`" if entry.get("command") else ""
    return f"{text}\n\n*{about}*{command}\n" if about or command else f"{text}\n"


def renew(path: Path, entries: dict[str, Any]) -> str:
    """Return a file's text with the figures of the entries."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        rows = {row[0]: row for row in entries["defaults"]["rows"]}
        columns = entries["defaults"]["columns"]
        if row := rows.get(COUNTRIES.get(path.stem, "")):
            naive, tuned = row[columns.index("naive")], row[columns.index("tuned")]
            text = _CONFIG.sub(f"loss from {naive} to {tuned}", text)
        return text

    def figure(match: re.Match) -> str:
        entry = entries[match[2]]
        (cells,) = (row for row in entry["rows"] if row[0] == match[3])
        return f"{match[1]}{cells[entry['columns'].index(match[4])]}{match[5]}"

    text = _TABLE.sub(lambda match: f"{match[1]}{table(entries[match[2]])}{match[3]}", text)
    return _FIGURE.sub(figure, text)


def texts() -> list[Path]:
    """Return the files that show results."""
    pages = sorted((ROOT / "docs").rglob("*.md"))
    return [ROOT / "README.md", *pages, *sorted((ROOT / "configs").glob("*.py"))]


def write() -> None:
    """Renew the figures in all files."""
    entries = json.loads(FILE.read_text())
    for path in texts():
        path.write_text(renew(path, entries), encoding="utf-8")


def stale() -> list[str]:
    """Return the files that show another figure than results.json has."""
    entries = json.loads(FILE.read_text())
    return [
        str(path.relative_to(ROOT))
        for path in texts()
        if renew(path, entries) != path.read_text(encoding="utf-8")
    ]


def main(arguments: list[str]) -> int:
    """Run the script; the status is 1 where figures are stale, 2 for a wrong call."""
    match arguments:
        case ["measure", *names] if names:
            folder = None
            if names[-1].startswith("--folder="):  # resumes `compare`
                folder = Path(names.pop().partition("=")[2])
            if unknown := set(names) - MEASURE.keys():
                print(f"unknown: {', '.join(unknown)}; give {', '.join(MEASURE)}", file=sys.stderr)
                return 2
            measure(names, folder)
        case ["write"]:
            write()
        case ["check"]:
            for name in stale():
                print(f"{name}: figures differ from docs/results.json; run write", file=sys.stderr)
                return 1
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
