"""What is asked, and how answers become scores."""

from jaxalign.survey.culturalbench import (
    HARD_LABELS,
    QUIZ_LABELS,
    HardRow,
    Quiz,
    QuizQuestion,
    questions_for,
    same_country,
)
from jaxalign.survey.culturalbench_files import load_quiz, load_quizzes
from jaxalign.survey.instrument import (
    DISTRIBUTION,
    IPSATISED,
    LINEAR,
    Instrument,
    Item,
    instrument_digest,
    share_key,
)
from jaxalign.survey.instrument_file import parse_instrument
from jaxalign.survey.loading import load_instrument
from jaxalign.survey.quiz_scores import (
    SMALLEST_PROBABILITY,
    accuracy,
    easy_correct,
    hard_correct,
    hard_questions,
    log_likelihood,
)
from jaxalign.survey.scoring import (
    Scoring,
    distance,
    distance_to_target,
    item_means,
    make_scoring,
    null_baseline,
    score_answers,
    scores_from_means,
)
from jaxalign.survey.share_targets import choose_targets, load_share_targets, targets_for
from jaxalign.survey.shares import ShareScoring, item_distances, jensen_shannon, wasserstein
from jaxalign.survey.targets import Target, find_target, load_targets, shuffled, targets_path
from jaxalign.survey.wordings import load_wordings
from jaxalign.survey.written import OPTION, REFUSAL, UNPARSED, Reading, read_written
from jaxalign.survey.yaml_files import read_yaml

__all__ = [
    "DISTRIBUTION",
    "HARD_LABELS",
    "IPSATISED",
    "LINEAR",
    "OPTION",
    "QUIZ_LABELS",
    "REFUSAL",
    "SMALLEST_PROBABILITY",
    "UNPARSED",
    "HardRow",
    "Instrument",
    "Item",
    "Quiz",
    "QuizQuestion",
    "Reading",
    "Scoring",
    "ShareScoring",
    "Target",
    "accuracy",
    "choose_targets",
    "distance",
    "distance_to_target",
    "easy_correct",
    "find_target",
    "hard_correct",
    "hard_questions",
    "instrument_digest",
    "item_distances",
    "item_means",
    "jensen_shannon",
    "load_instrument",
    "load_quiz",
    "load_quizzes",
    "load_share_targets",
    "load_targets",
    "load_wordings",
    "log_likelihood",
    "make_scoring",
    "null_baseline",
    "parse_instrument",
    "questions_for",
    "read_written",
    "read_yaml",
    "same_country",
    "score_answers",
    "scores_from_means",
    "share_key",
    "shuffled",
    "targets_for",
    "targets_path",
    "wasserstein",
]
