"""What a page says of its numbers: what they mean under each way of scoring, and what not."""

from html import escape
from typing import Any

from jaxalign.report.numbers import baseline_name

_DIFFERENCES = """A score is a weighted difference of mean answers plus a constant C{constant}. C
moves a whole dimension up or down and is a convention. The scores here are therefore not comparable
with published ones, or with scores under another C, unless C has been anchored in samples that
share a reference."""
_SUMS = """A score is a weighted sum of mean answers plus a constant C{constant}. Another wording or
another C moves whole dimensions, so scores here are not comparable with published ones unless C has
been anchored in samples that share a reference."""
_IPSATISED = """A score tells how far the answers to a dimension's items lie from the mean over all
items{constant}. It ranks dimensions within the respondent and says nothing on how strong any of
them is; where one rises others must fall."""
_DISTRIBUTION = """Each item's answers are compared with the target's by the Wasserstein-1 distance
over the scale's width where the options are ordered, and by the Jensen-Shannon distance (base 2)
where they are not: 0 where both are equal, 100 where they cannot be further apart. The loss is
taken over all items alike, although the two measures are not the same kind of number."""
_CONSTANT_ANSWER = """A model that gives one answer to everything scores exactly C on every
dimension. Its loss stands above as the constant answer: a tuned loss says little unless it is well
below that one too, and the choice of C decides how bad the untuned model looks."""
_UNIFORM_ANSWERS = """A model that finds all options of an item equally likely, whatever is asked,
has the loss that stands above as uniform answers: a tuned loss says little unless it is well below
that one too."""
_GROUPS = """The survey describes groups, not persons. The scores say how the model's answers
average, and nothing about any one respondent or reader."""
_MANY_PROFILES = """Many answer profiles give the same scores. A low loss shows that the scores were
reached, not that every answer is like the country's, nor that the model knows the culture, nor that
anything but this survey has changed."""
_SHARES_ALONE = """A low loss shows that the shares of the answers were reached, not that one person
would answer several items as a person of the country does, nor that the model knows the culture,
nor that anything but this survey has changed."""
_SEEN = """The search saw only the wording, option orders and readout of this run; what it found
may not carry over to others."""


def explain(summary: dict[str, Any], evaluated: bool = False) -> str:
    """Returns the items of the page's list; one less where other formats have been tried."""
    scoring, one_answer = summary.get("scoring"), baseline_name(summary) == "constant answer"
    score = {"ipsatised": _IPSATISED, "distribution": _DISTRIBUTION}.get(
        str(scoring), _DIFFERENCES if one_answer else _SUMS
    )
    texts = [
        score.format(constant=_constant(summary)),
        _CONSTANT_ANSWER if one_answer else _UNIFORM_ANSWERS,
        _GROUPS,
        _SHARES_ALONE if scoring == "distribution" else _MANY_PROFILES,
        *[_SEEN] * (not evaluated),
    ]
    return "\n".join(f"<li>{text}</li>" for text in texts)


def _constant(summary: dict[str, Any]) -> str:
    constant = summary.get("constant")
    values = constant if isinstance(constant, list) else [constant]
    ipsatised = summary.get("scoring") == "ipsatised"
    if constant is None or (ipsatised and not any(values)):
        return ""
    texts = [f"{value:g}" for value in values]
    told = escape(texts[0] if len(set(texts)) == 1 else ", ".join(texts))
    return f", plus {told}" if ipsatised else f" (here {told})"
