"""Search methods side by side: their histories kept, summarised, tabled and drawn.

Everything is made from `histories.csv` alone, and holds for any method that spends evaluations.
"""

from jaxalign.report.comparison.curves_plot import plot_curves
from jaxalign.report.comparison.finals_plot import plot_finals
from jaxalign.report.comparison.histories import Run, append_run, read_runs
from jaxalign.report.comparison.statistics import Summary, summarise
from jaxalign.report.comparison.table import (
    print_comparison,
    render_markdown,
    write_summary_csv,
)

__all__ = [
    "Run",
    "Summary",
    "append_run",
    "plot_curves",
    "plot_finals",
    "print_comparison",
    "read_runs",
    "render_markdown",
    "summarise",
    "write_summary_csv",
]
