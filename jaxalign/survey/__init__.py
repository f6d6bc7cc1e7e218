"""What is asked, and how answers become scores."""

from jaxalign.survey.benchmark_scores import SMALLEST_PROBABILITY, accuracy, log_likelihood
from jaxalign.survey.culturalbench import (
    BENCHMARK_LABELS,
    HARD_LABELS,
    Benchmark,
    BenchmarkQuestion,
    HardRow,
    questions_for,
    same_country,
)
from jaxalign.survey.culturalbench_files import load_benchmark, load_benchmarks
from jaxalign.survey.culturalbench_scores import easy_correct, hard_correct, hard_questions
from jaxalign.survey.instrument import Instrument, Item, load_instrument, parse_instrument
from jaxalign.survey.scoring import (
    Scoring,
    distance,
    item_means,
    make_scoring,
    scores_from_means,
)
from jaxalign.survey.targets import Target, find_target, load_targets, shuffled, targets_path
from jaxalign.survey.written import OPTION, REFUSAL, UNPARSED, Reading, read_written

__all__ = [
    "BENCHMARK_LABELS",
    "HARD_LABELS",
    "OPTION",
    "REFUSAL",
    "SMALLEST_PROBABILITY",
    "UNPARSED",
    "Benchmark",
    "BenchmarkQuestion",
    "HardRow",
    "Instrument",
    "Item",
    "Reading",
    "Scoring",
    "Target",
    "accuracy",
    "distance",
    "easy_correct",
    "find_target",
    "hard_correct",
    "hard_questions",
    "item_means",
    "load_benchmark",
    "load_benchmarks",
    "load_instrument",
    "load_targets",
    "log_likelihood",
    "make_scoring",
    "parse_instrument",
    "questions_for",
    "read_written",
    "same_country",
    "scores_from_means",
    "shuffled",
    "targets_path",
]
