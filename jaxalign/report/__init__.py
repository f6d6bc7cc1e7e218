"""What the user sees: progress and tables in the terminal, and the report in the workdir.

Everything here is made from plain values or from the files of a workdir, so a report can be written
again long after the run, on a machine without an accelerator. What draws is not loaded here, and
matplotlib with it: import it from `page`, `countries` or `comparison`.
"""

from jaxalign.report.progress import Progress
from jaxalign.report.runs import print_runs
from jaxalign.report.steps import Steps
from jaxalign.report.terminal import print_header, print_result, print_results

__all__ = [
    "Progress",
    "Steps",
    "print_header",
    "print_result",
    "print_results",
    "print_runs",
]
