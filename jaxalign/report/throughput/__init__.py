"""What a generation costs, as tables and a plot; made from plain figures, one record a setting."""

from jaxalign.report.throughput.points import point_line, print_points, write_points_csv
from jaxalign.report.throughput.programs import print_programs
from jaxalign.report.throughput.rows import rows
from jaxalign.report.throughput.scaling_plot import plot_scaling

__all__ = [
    "plot_scaling",
    "point_line",
    "print_points",
    "print_programs",
    "rows",
    "write_points_csv",
]
