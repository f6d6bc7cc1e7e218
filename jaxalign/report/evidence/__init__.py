"""The report of an evaluation: evaluation.json as records, tables, plots, and a page.

To be read without matplotlib, import `record` alone.
"""

from jaxalign.report.evidence.compared import write_comparison_report
from jaxalign.report.evidence.page import write_evaluation_report
from jaxalign.report.evidence.terminal import print_evaluation

__all__ = ["print_evaluation", "write_comparison_report", "write_evaluation_report"]
