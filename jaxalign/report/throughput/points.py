"""Many settings beside each other: a line each while they run, then a table and a CSV."""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from jaxalign.files import write_file
from jaxalign.report.throughput.rows import losses_in_words

POPULATION, CHUNK = "search.population", "evaluation.chunk"
Figures = dict[str, Any]
_NOT_MEASURED = "not measured"

# Column of the CSV to its place in the figures.
_COLUMNS = {
    "model": "model",
    "dtype": "dtype",
    "attention": "attention",
    "candidates": "candidates",
    "prompt_length": "prompt_length",
    "trie_tokens": "trie_tokens",
    "chunk": "chunk",
    "repeats": "repeats",
    "candidates_per_second": "candidates_per_second",
    "tokens_per_second": "tokens_per_second",
    "share_of_ceiling": "share_of_ceiling",
    "share_by_operations": "share_by_operations",
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
    "error": "error",
    "hardware": "hardware",
    "load": "load",
    "date": "date",
    "command": "command",
}


def growth(figures: Figures, points: Sequence[Figures]) -> float | None:
    """Seconds a candidate over those of the smallest population with all else equal.

    1 where time is linear in the population; None where the population is not swept.
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
    """What is said of a setting as soon as it is measured."""
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
    """Prints a row per setting.

    Args:
      points: figures of at least one setting.
      console: where to print; standard output by default.
    """
    console = console or Console(highlight=False)
    table = Table(box=box.SIMPLE_HEAD, title="Settings", title_justify="left", title_style="bold")
    keys = list(points[0]["swept"])
    for key in keys:
        table.add_column(_short(key), justify="right")
    columns = {name: value for name, value in _TABLE.items() if _wanted(name, points)}
    for name in columns:
        table.add_column(name, justify="right")
    for figures in points:
        own = [str(figures["swept"][key]) for key in keys]
        if "error" in figures:
            own += [_NOT_MEASURED] + [""] * (len(columns) - 1)
        else:
            own += [value(figures, points) for value in columns.values()]
        table.add_row(*map(Text, own))
    if not console.is_terminal:  # a file has no width that a figure would have to be cut for
        needed = Measurement.get(console, console.options.update(max_width=1000), table).maximum
        console = Console(file=console.file, width=max(console.width, needed), highlight=False)
    console.print(table)


def _wanted(name: str, points: Sequence[Figures]) -> bool:
    """Whether a column would tell anything."""
    if name == "growth":
        return any(growth(figures, points) is not None for figures in points)
    if name == "chunk":
        return CHUNK not in points[0]["swept"]
    measured = [figures for figures in points if "error" not in figures]
    if name == "peak":
        return any(figures["memory"]["peak"] is not None for figures in measured)
    return name not in _OF_THE_PEER or any("peer" in figures for figures in measured)


_OF_THE_PEER = ("peer/s", "ratio", "losses")
_TABLE: dict[str, Callable[[Figures, Sequence[Figures]], str]] = {
    "candidates/s": lambda own, _: f"{own['candidates_per_second']:,.4g}",
    "s/generation": lambda own, _: f"{own['seconds']['generation']:.4g}",
    "growth": lambda own, points: f"{growth(own, points):.2f}",
    "of ceiling": lambda own, _: f"{own['share_of_ceiling']:.1%}",
    "overhead": lambda own, _: f"{own['overhead_share']:.2%}",
    "chunk": lambda own, _: str(own["chunk"]),
    "working": lambda own, _: f"{own['memory']['working'] / 2**20:,.0f} MiB",
    "peak": lambda own, _: f"{own['memory']['peak'] / 2**20:,.0f} MiB",
    "peer/s": lambda own, _: f"{own['peer']['candidates_per_second']:,.4g}",
    "ratio": lambda own, _: (
        f"{own['peer']['ratio']:.2f} ({own['peer']['ratio_least']:.2f} to "
        f"{own['peer']['ratio_most']:.2f})"
    ),
    "losses": lambda own, _: losses_in_words(own["peer"]["losses"]),
}


def write_points_csv(points: Sequence[Figures], path: Path) -> None:
    """Writes a row per setting: what sets it apart by full key, its figures, hardware, versions.

    Empty where the platform does not tell, or a setting was not measured.
    """
    keys = list(points[0]["swept"])
    versions = list(dict.fromkeys(name for point in points for name in point["versions"]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*keys, "growth", *_COLUMNS, *versions])
    for figures in points:
        writer.writerow(
            [
                *(figures["swept"][key] for key in keys),
                growth(figures, points),
                *(_at(figures, place) for place in _COLUMNS.values()),
                *(figures["versions"].get(name) for name in versions),
            ]
        )
    write_file(path, text.getvalue().encode())


def _at(figures: Figures, place: str) -> Any:
    value: Any = figures
    for name in place.split("."):
        value = value.get(name) if value is not None else None
    return value


def _short(key: str) -> str:
    return key.rpartition(".")[2]
