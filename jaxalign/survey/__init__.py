"""What is asked, and how answers become scores."""

from jaxalign.survey.benchmark_scores import SMALLEST_PROBABILITY, accuracy, log_likelihood
from jaxalign.survey.culturalbench import (
    BENCHMARK_LABELS,
    Benchmark,
    BenchmarkQuestion,
    load_benchmark,
    questions_for,
    same_country,
)
from jaxalign.survey.instrument import (
    Instrument,
    Item,
    instrument_digest,
    load_instrument,
    parse_instrument,
)
from jaxalign.survey.scoring import (
    Scoring,
    distance,
    item_means,
    make_scoring,
    scores_from_means,
)
from jaxalign.survey.targets import Target, find_target, load_targets, targets_path

__all__ = [
    "BENCHMARK_LABELS",
    "SMALLEST_PROBABILITY",
    "Benchmark",
    "BenchmarkQuestion",
    "Instrument",
    "Item",
    "Scoring",
    "Target",
    "accuracy",
    "distance",
    "find_target",
    "instrument_digest",
    "item_means",
    "load_benchmark",
    "load_instrument",
    "load_targets",
    "log_likelihood",
    "make_scoring",
    "parse_instrument",
    "questions_for",
    "same_country",
    "scores_from_means",
    "targets_path",
]
