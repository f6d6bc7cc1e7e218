"""Many settings side by side: a line each while they run, then a table and a CSV."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from jaxalign.files import write_csv
from jaxalign.report.tables import new_table, table_width
from jaxalign.report.throughput.rows import describe_losses

POPULATION, CHUNK = "search.population", "evaluation.chunk"
Figures = dict[str, Any]
_NOT_MEASURED = "not measured"

# Columns of the CSV that are figures of the same name, and then those that have another path.
_FIGURES = (
    "model", "dtype", "attention", "candidates", "prompt_length", "trie_tokens", "chunk", "repeats",
    "candidates_per_second", "tokens_per_second", "share_of_ceiling", "share_by_operations",
)  # fmt: skip
_COLUMNS = {
    **{name: name for name in _FIGURES},
    "ceiling_flop_per_second": "ceiling.flop_per_second",
    "generation_seconds": "seconds.generation",
    "evaluate_seconds": "seconds.evaluate",
    "ask_tell_seconds": "seconds.ask_tell",
    "rest_seconds": "seconds.rest",
    "checkpoint_seconds": "seconds.checkpoint",
    "host_seconds": "seconds.host",
    "overhead_share": "overhead_share",
    "saving": "saving",
    "weights_bytes": "memory.weights",
    "working_bytes": "memory.working",
    "peak_bytes": "memory.peak",
    "compile_seconds": "compile_seconds.step",
    "compile_from_cache_seconds": "compile_seconds.step_from_cache",
    "peer_candidates_per_second": "peer.candidates_per_second",
    "peer_batch": "peer.batch",
    "ratio_to_peer": "peer.ratio",
    "ratio_least": "peer.ratio_least",
    "ratio_most": "peer.ratio_most",
    "largest_loss_difference": "peer.losses.largest_difference",
    **{name: name for name in ("error", "hardware", "load", "date", "command")},
}


def growth(figures: Figures, points: Sequence[Figures]) -> float | None:
    """Return seconds per candidate over those of the smallest population with all else equal.

    1 if time is linear in the population; None if the population is not swept.
    """
    swept = figures["swept"]
    if POPULATION not in swept or "error" in figures:
        return None
    alike = [
        point
        for point in points
        if "error" not in point
        and {**point["swept"], POPULATION: None} == {**swept, POPULATION: None}
    ]
    least = min(alike, key=lambda point: point["swept"][POPULATION])
    return least["candidates_per_second"] / figures["candidates_per_second"]


def point_line(number: int, total: int, figures: Figures) -> str:
    """Return what is printed of a setting as soon as it is measured."""
    name = " ".join(f"{_short(key)}={value}" for key, value in figures["swept"].items())
    if "error" in figures:
        return f"{number}/{total}  {name}  {_NOT_MEASURED}: {figures['error']}"
    line = (
        f"{number}/{total}  {name}  {figures['candidates_per_second']:,.4g} candidates/s, "
        f"{figures['seconds']['generation']:.4g} s, "
        f"{figures['share_of_ceiling']:.1%} of the ceiling"
    )
    return line + (f", {figures['peer']['ratio']:.2f} x peer" if "peer" in figures else "")


def print_points(points: Sequence[Figures], *, console: Console | None = None) -> None:
    """Print a row per setting.

    Args:
      points: figures of at least one setting.
      console: where to print; standard output by default.
    """
    console = console or Console(highlight=False)
    keys = list(points[0]["swept"])
    measured = [figures for figures in points if "error" not in figures]
    columns = {
        name: cell
        for name, cell in _TABLE.items()
        if any(cell(figures, points) for figures in measured)
    }
    table = new_table("Settings", *map(_short, keys), *columns)
    table.columns[0].justify = "right"
    for figures in points:
        cells = [str(figures["swept"][key]) for key in keys]
        if "error" in figures:
            cells.append(_NOT_MEASURED)
        else:
            cells += [cell(figures, points) for cell in columns.values()]
        table.add_row(*map(Text, cells))
    if not console.is_terminal:  # a file has no width that a figure would have to be cut for
        width = max(console.width, table_width(console, table))
        console = Console(file=console.file, width=width, highlight=False)
    console.print(table)


def _growth(own: Figures, points: Sequence[Figures]) -> str:
    value = growth(own, points)
    return "" if value is None else f"{value:.2f}"


def _mebibytes(value: float | None) -> str:
    return "" if value is None else f"{value / 2**20:,.0f} MiB"


# A column that is empty for all settings is left out.
_TABLE: dict[str, Callable[[Figures, Sequence[Figures]], str]] = {
    "candidates/s": lambda own, _: f"{own['candidates_per_second']:,.4g}",
    "s/generation": lambda own, _: f"{own['seconds']['generation']:.4g}",
    "growth": _growth,
    "of ceiling": lambda own, _: f"{own['share_of_ceiling']:.1%}",
    "overhead": lambda own, _: f"{own['overhead_share']:.2%}",
    "chunk": lambda own, _: "" if CHUNK in own["swept"] else str(own["chunk"]),
    "working": lambda own, _: _mebibytes(own["memory"]["working"]),
    "peak": lambda own, _: _mebibytes(own["memory"]["peak"]),
    "peer/s": lambda own, _: (
        f"{own['peer']['candidates_per_second']:,.4g}" if "peer" in own else ""
    ),
    "ratio": lambda own, _: (
        "{ratio:.2f} ({ratio_least:.2f} to {ratio_most:.2f})".format(**own["peer"])
        if "peer" in own else ""
    ),
    "losses": lambda own, _: describe_losses(own["peer"]["losses"]) if "peer" in own else "",
}  # fmt: skip


def write_points_csv(points: Sequence[Figures], path: Path) -> None:
    """Write a row per setting: what sets it apart by full key, its figures, hardware, versions.

    A cell is empty if the platform does not report its figure, or the setting was not measured.
    """
    keys = list(points[0]["swept"])
    versions = list(dict.fromkeys(name for point in points for name in point["versions"]))
    rows = [
        [
            *(figures["swept"][key] for key in keys),
            growth(figures, points),
            *(_at(figures, path) for path in _COLUMNS.values()),
            *map(figures["versions"].get, versions),
        ]
        for figures in points
    ]
    write_csv(path, [*keys, "growth", *_COLUMNS, *versions], rows)


def _at(figures: Figures, path: str) -> Any:
    value: Any = figures
    for name in path.split("."):
        value = value.get(name) if value is not None else None
    return value


def _short(key: str) -> str:
    return key.rpartition(".")[2]
