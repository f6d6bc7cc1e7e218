"""Search methods side by side: their histories, statistics, tables and plots.

Everything is made from `histories.csv` alone, for any method that spends evaluations.
"""

from jaxalign.report.comparison.histories import Run, append_run, read_runs
from jaxalign.report.comparison.plots import plot_curves, plot_finals
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
