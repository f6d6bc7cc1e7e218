"""Measured results: docs/results.json, and the texts that show its figures.

    python docs/results.py measure [--quick] NAME…   run the commands of entries, store the results
    python docs/results.py write                     refresh README.md, docs/ and configs/
    python docs/results.py check                     exit with 1 if a shown figure differs

NAME is one of defaults, real, speed, compare, lines, suite, nightly, or all (but nightly). The runs
of a measurement are kept in runs/results/REVISION/NAME, so that the same call resumes an
interrupted one. --quick rehearses with tiny settings, prints the tables and stores nothing.

An entry holds a table (columns, rows) or a text, the notes that belong to it, and its origin:
command, hardware, date, versions and revision. Markdown shows an entry between
`<!-- results: NAME -->` and `<!-- end -->`, and one cell of a table between
`<!-- r: NAME | ROW | COLUMN -->` and `<!-- /r -->`. A config's docstring says "loss from A to B".
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "docs" / "results.json"
CONFIGS = {"sa": "Saudi Arabia", "cn": "China", "in": "India", "us": "United States"}
_SECTION = re.compile(r"(<!-- results: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
_CELL = re.compile(r"(<!-- r: ([^|>]+) \| ([^|>]+) \| ([^|>]+) -->).*?(<!-- /r -->)", re.DOTALL)
_CONFIG = re.compile(r"loss from [\d.,]+ to [\d.,]+")

Entries = dict[str, dict[str, Any]]


def section(entry: dict[str, Any]) -> str:
    """Return an entry as Markdown: its table or text, where it is from, and its notes."""
    if "text" in entry:
        body = "\n".join(["```", *entry["text"], "```"])
    else:
        rows = [entry["columns"], ["---"] * len(entry["columns"]), *entry["rows"]]
        body = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    versions = ", ".join(f"{name} {number}" for name, number in entry["versions"].items())
    origin = [entry["hardware"], entry["date"], versions, f"revision {entry['revision']}"]
    about = f"*{'; '.join(each for each in origin if each)}*: `{entry['command']}`"
    return "\n\n".join([body, about, *entry.get("notes", ())]) + "\n"


def refresh(text: str, entries: Entries) -> str:
    """Return a Markdown text with the figures of the entries."""

    def cell(match: re.Match) -> str:
        entry = entries[match[2]]
        (row,) = (row for row in entry["rows"] if row[0] == match[3])
        return f"{match[1]}{row[entry['columns'].index(match[4])]}{match[5]}"

    text = _SECTION.sub(lambda match: f"{match[1]}{section(entries[match[2]])}{match[3]}", text)
    return _CELL.sub(cell, text)


def refresh_config(text: str, country: str, entries: Entries) -> str:
    """Return a config's text with the losses of its default run."""
    defaults = entries["defaults"]
    for row in defaults["rows"]:
        if row[0] == country:
            naive, tuned = (row[defaults["columns"].index(each)] for each in ("naive", "tuned"))
            return _CONFIG.sub(f"loss from {naive} to {tuned}", text)
    return text


def refreshed() -> dict[Path, str]:
    """Return the texts that show results, as they should read."""
    entries = json.loads(FILE.read_text())
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    texts = {path: refresh(path.read_text(encoding="utf-8"), entries) for path in pages}
    for code, country in CONFIGS.items():
        path = ROOT / "configs" / f"{code}.py"
        texts[path] = refresh_config(path.read_text(encoding="utf-8"), country, entries)
    return texts


def stale() -> list[str]:
    """Return the files that show another figure than results.json has."""
    return [
        str(path.relative_to(ROOT))
        for path, text in refreshed().items()
        if text != path.read_text(encoding="utf-8")
    ]


def main(arguments: list[str]) -> int:
    """Run the script; return 1 for failures and stale figures, 2 for a wrong call."""
    match arguments:
        case ["measure", *names] if names:
            from measuring import MEASURE, measure

            quick = "--quick" in names
            names = [name for name in names if name != "--quick"]
            names = [name for name in MEASURE if name != "nightly"] if names == ["all"] else names
            if unknown := set(names) - MEASURE.keys():
                print(f"unknown: {', '.join(unknown)}; give {', '.join(MEASURE)}", file=sys.stderr)
                return 2
            failed = []
            for name, measured in measure(names, quick):
                if measured is None:
                    failed.append(name)
                elif quick:
                    print("\n".join(section(entry) for entry in measured.values()))
                else:
                    stored = json.loads(FILE.read_text()) | measured
                    FILE.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n")
            print(f"failed: {', '.join(failed)}" if failed else "done", file=sys.stderr)
            return 1 if failed else 0
        case ["write"]:
            for path, text in refreshed().items():
                path.write_text(text, encoding="utf-8")
            return 0
        case ["check"]:
            found = stale()
            for name in found:
                print(f"{name}: figures differ from docs/results.json; run write", file=sys.stderr)
            return 1 if found else 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
