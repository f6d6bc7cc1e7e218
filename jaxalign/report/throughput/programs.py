"""What compiled programs say of themselves, a row a program; nothing in it was measured."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from jaxalign.report.tables import new_table, table_width

_NOTE = (
    "Compiled, not run. Layer and estimate are XLA's cycles on a TPU, and on a GPU the larger of "
    "operations and bytes of each kernel; collectives, kernels of Pallas and copies beside other "
    "work are not in it, nor which kernel a GPU would choose."
)
_COLUMNS = (
    "chunk", "arguments", "temporaries", "of chip", "layer, ms", "estimate, s", "bound, s",
    "bytes, s", "in products", "types of products", "weight copies a layer", "collectives a layer",
    "others",
)  # fmt: skip


def print_programs(points: Sequence[dict[str, Any]], *, console: Console | None = None) -> None:
    """Print a row for each program of each setting."""
    console = console or Console(highlight=False)
    first = points[0]
    population, model = first["mesh"]
    title = f"{first['model']} for {first['compiled_for']}, mesh {population} x {model}"
    words = ("types of products", "weight copies a layer", "collectives a layer", "others")
    table = new_table(title, "program", *_COLUMNS, words=words)
    for figures in points:
        swept = " ".join(
            f"{key.rpartition('.')[2]}={value}" for key, value in figures["swept"].items()
        )
        for name, program in figures["programs"].items():
            table.add_row(*map(Text, [f"{name} {swept}".strip(), *_cells(program)]))
    if not console.is_terminal:
        width = max(console.width, table_width(console, table))
        console = Console(file=console.file, width=width, highlight=False)
    console.print(table)
    console.print(_NOTE)


def _cells(program: dict[str, Any]) -> list[str]:
    memory, seconds = program.get("memory"), program.get("seconds")
    if memory is None or seconds is None:
        return [str(program["chunk"]), program["error"]]
    copies = {name: size for name, size in program["weight_copies"].items() if size}
    return [
        str(program["chunk"]),
        f"{memory['arguments'] / 1e9:.2f} GB",
        f"{memory['temporaries'] / 1e9:.2f} GB",
        f"{memory['total'] / memory['chip']:.0%}",
        f"{1e3 * seconds['layer']:.3g}",
        f"{seconds['estimate']:.3g}",
        f"{seconds['operations']:.3g}",
        f"{seconds['bytes']:.3g}",
        f"{program['share_of_products']:.0%}",
        _types(program["flop"]),
        ", ".join(f"{size / 1e6:.0f} MB {name}" for name, size in copies.items()) or "none",
        _collectives(program["collectives"], True),
        _collectives(program["collectives"], False),
    ]


def _types(flop: dict[str, int]) -> str:
    whole = sum(flop.values())
    shares = sorted(((count / whole, name) for name, count in flop.items()), reverse=True)
    return ", ".join(f"{name} {share:.0%}" for share, name in shares if share >= 0.005)


def _collectives(collectives: list[dict[str, Any]], in_layers: bool) -> str:
    told = [
        f"{each['count']} {each['kind']} of {each['bytes'] / 1e6:.3g} MB"
        for each in collectives
        if each["in_layers"] == in_layers
    ]
    return ", ".join(told) or "none"
