"""What is asked, and how answers become scores."""

from jaxalign.survey.instrument import Instrument, Item, load_instrument, parse_instrument
from jaxalign.survey.scoring import (
    Scoring,
    distance,
    item_means,
    make_scoring,
    scores_from_means,
)
from jaxalign.survey.targets import Target, find_target, load_targets, targets_path

__all__ = [
    "Instrument",
    "Item",
    "Scoring",
    "Target",
    "distance",
    "find_target",
    "item_means",
    "load_instrument",
    "load_targets",
    "make_scoring",
    "parse_instrument",
    "scores_from_means",
    "targets_path",
]
