"""The evidence of an evaluation: read from evaluation.json, tabled, drawn, and put on a page.

Every section is made by one file, which writes its CSV and plots and gives its part of the page.
"""

from jaxalign.report.evidence.page import write_evaluation_report
from jaxalign.report.evidence.several import write_comparison_report
from jaxalign.report.evidence.terminal import print_evaluation

__all__ = ["print_evaluation", "write_comparison_report", "write_evaluation_report"]
