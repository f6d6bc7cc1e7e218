"""A survey as data: items, scales, and how answers become scores."""

import hashlib
import json
from dataclasses import asdict, dataclass

LINEAR, IPSATISED, DISTRIBUTION = "linear", "ipsatised", "distribution"


@dataclass(frozen=True)
class Item:
    """One question.

    Attributes:
      id: name of the item, such as `m01`.
      stem: the words that come before the options, shared by a group of items.
      text: the words of the item itself.
      scale: name of the answer scale.
      labels: A strings, what the respondent writes for each option (`"1"` … `"5"`).
      options: A strings, what each label stands for.
      values: A numbers, what each option counts in a mean; a reversed item's are turned round.
      dimensions: keys of the dimensions that use the item in any coefficient set.
      nominal: whether the options have no order.
      fixed: how many of the last options stay there in every order.
      nonresponse: label and text of what else stands behind the options and is no answer, such as
        "don't know".
      offers_nonresponse: whether the question offers it; what respondents choose it then counts for
        no option, and published shares of it are left out either way.
    """

    id: str
    stem: str
    text: str
    scale: str
    labels: tuple[str, ...]
    options: tuple[str, ...]
    values: tuple[float, ...]
    dimensions: tuple[str, ...]
    nominal: bool = False
    fixed: int = 0
    nonresponse: tuple[tuple[str, str], ...] = ()
    offers_nonresponse: bool = False


# Added later: digests made before must still hold for surveys that do without.
_LATER = ("fixed", "nonresponse", "offers_nonresponse")


@dataclass(frozen=True)
class Instrument:
    """A whole survey.

    Attributes:
      name: short name; title: for people.
      validated: whether the wording has been validated; ours has not.
      instruction: how to answer; instructions: the same for other labels, by their name.
      items: Q items, in the order of all `_Q` arrays.
      dimensions: key to name of the C dimensions, in the order of all `_C` arrays; where answers
        are scored as distributions one for each option of each item, `share_key` to option.
      coefficients: set name to {dimension: {item id: coefficient}}; the first set is the default.
      scoring: `linear`: weighted sums of mean answers; `ipsatised`: the same after the mean over
        all items was taken off each; `distribution`: the shares of the options themselves.
      constant: C of the linear formulas, one number for all dimensions or one for each.
      score_range: the ends of the scale that scores are read on, or None for none.
      notice: what every output of this survey must say, or None.
    """

    name: str
    title: str
    language: str
    validated: bool
    instruction: str
    instructions: dict[str, str]
    items: tuple[Item, ...]
    dimensions: dict[str, str]
    coefficients: dict[str, dict[str, dict[str, float]]]
    scoring: str = LINEAR
    constant: tuple[float, ...] = (0.0,)
    score_range: tuple[float, float] | None = None
    notice: str | None = None


def share_key(id_: str, label: str) -> str:
    """Return the key of the share of respondents who give one answer to one item."""
    return f"{id_}={label}"


def instrument_digest(instrument: Instrument) -> str:
    """Return SHA-256 of everything that a survey says."""
    content = asdict(instrument)
    for item in content["items"]:
        for key in _LATER:
            if item[key] == getattr(Item, key):
                del item[key]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
