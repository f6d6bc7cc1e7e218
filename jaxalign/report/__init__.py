"""What the user sees: progress and tables in the terminal, and the report in the workdir.

Everything here is made from plain values or from the files of a workdir, so a report can be written
again long after the run, on a machine without an accelerator.
"""

from jaxalign.report.countries import write_countries_report
from jaxalign.report.page import write_report
from jaxalign.report.progress import Progress
from jaxalign.report.terminal import print_header, print_result, print_results

__all__ = [
    "Progress",
    "print_header",
    "print_result",
    "print_results",
    "write_countries_report",
    "write_report",
]
