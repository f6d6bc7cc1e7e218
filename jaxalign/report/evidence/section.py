"""What the sections of the evidence share: templates, tables, figures, and CSV files."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from jaxalign.files import write_file
from jaxalign.report.parts import inline_svg, substitute


@dataclass(frozen=True)
class Section:
    """A section of the page, and the names of the files that it left beside the page."""

    html: str = ""
    files: tuple[str, ...] = ()


class Markup(str):
    """Text of a cell that is HTML already; any other text is escaped."""


def cell(text: str, below: str | None = None) -> Markup:
    """A text with a line in small type below it, both escaped."""
    return Markup(escape(text) + (f" <small>{escape(below)}</small>" if below else ""))


def render(name: str, **parts: str) -> str:
    """Returns a template of this folder with its parts put in."""
    return substitute(f"evidence/{name}.html", **parts)


def html_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, kind: str = "", strong: str = ""
) -> str:
    """Returns a table in a box of its own, which scrolls where the page is narrow.

    Args:
        columns: heads.
        rows: cells, escaped unless they are Markup. One alone is a head over the rows below it.
        kind: CSS class.
        strong: text of a first cell whose row stands out.
    """
    lines = []
    for row in rows:
        cells = [each if isinstance(each, Markup) else escape(each) for each in row]
        if len(cells) == 1:
            span = f'<th colspan="{len(columns)}" scope="rowgroup">{cells[0]}</th>'
            lines.append(f'<tr class="group">{span}</tr>')
            continue
        first = f'<th scope="row">{cells[0]}</th>'
        stands_out = strong and cells[0].split(" <small>")[0] == strong
        mark = ' class="tuned"' if stands_out else ""
        lines.append(f"<tr{mark}>{first}{''.join(f'<td>{each}</td>' for each in cells[1:])}</tr>")
    heads = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "\n".join(lines)
    return (
        f'<div class="wide"><table class="evidence {kind}">\n<thead><tr>{heads}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def figure(folder: Path, stem: str, label: str, caption: str = "", least: float = 0.7) -> str:
    """Returns a drawn SVG as a figure, which scrolls rather than become illegible.

    Args:
        folder: where `stem`.svg is; its ids in the page begin with the stem.
        stem: of the file.
        label: what it shows, and where its values stand, for who cannot see it.
        caption: stands below it, as HTML.
        least: share of its own width below which it scrolls.
    """
    svg = inline_svg((folder / f"{stem}.svg").read_text(encoding="utf-8"), stem)
    width = float(re.findall(r'\bwidth="([\d.]+)pt"', svg)[0])
    svg = svg.replace("<svg", f'<svg style="min-width: {least * width:.0f}pt"', 1)
    below = f"<figcaption>{caption}</figcaption>\n" if caption else ""
    return (
        f'<figure role="img" aria-label="{escape(label)}">\n<div class="wide drawn">\n{svg}\n'
        f"</div>\n{below}</figure>"
    )


def write_csv(
    path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]], notice: str | None
) -> str:
    """Writes a table with every digit, the notice last in each line; returns the file's name."""
    return write_rows(path, [*columns, "notice"], ([*row, notice] for row in rows))


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Writes a CSV file, None as an empty cell; returns the file's name."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(columns)
    for row in rows:
        table.writerow("" if each is None else each for each in row)
    write_file(path, out.getvalue().encode())
    return path.name


def ends(interval: Sequence[float] | None) -> Sequence[float | None]:
    """Both ends of an interval as cells of a CSV file."""
    return (None, None) if interval is None else interval


def drawn(stem: str) -> tuple[str, str]:
    """The files of a plot."""
    return f"{stem}.png", f"{stem}.svg"
