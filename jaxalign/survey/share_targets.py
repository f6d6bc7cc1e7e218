"""Published answer distributions, with their source and year: one row for each option."""

import math
from collections.abc import Sequence

from jaxalign.errors import UserError
from jaxalign.settings import ALL, SurveySettings
from jaxalign.survey.instrument import DISTRIBUTION, Instrument, Item, share_key
from jaxalign.survey.parsing import parse_number
from jaxalign.survey.shares import PERCENT
from jaxalign.survey.targets import (
    Target,
    find_target,
    load_targets,
    read_rows,
    shuffled,
    targets_path,
)

_COLUMNS = ("code", "country", "item", "option", "share", "source", "year")
_ROUNDING = 0.025  # that the shares of an item, published in whole percent, may miss 1 by
_TOLD = 20  # faults in one message: a file has hundreds of rows


def targets_for(instrument: Instrument, name: str) -> dict[str, Target]:
    """Read a set of targets of whichever form the instrument is scored in: code to target.

    Raises:
      UserError: as `load_targets` and `load_share_targets` do.
    """
    if instrument.scoring == DISTRIBUTION:
        return load_share_targets(name, instrument)
    return load_targets(name, tuple(instrument.dimensions))


def choose_targets(
    instrument: Instrument, settings: SurveySettings, countries: Sequence[str]
) -> tuple[Target, ...]:
    """Return the targets of countries by code or name, or of all the set has, each once.

    Raises:
      UserError: the set cannot be read, has no such country, or cannot be shuffled.
    """
    known = targets_for(instrument, settings.targets)
    if [name.casefold() for name in countries] == [ALL]:
        countries = list(known)
    found = [find_target(known, name, f"survey.targets={settings.targets}") for name in countries]
    if settings.shuffle and instrument.scoring == DISTRIBUTION:
        raise UserError(
            f"survey.shuffle={settings.shuffle}: {instrument.name} has answer distributions and no "
            "dimensions to shuffle; give 0"
        )
    if settings.shuffle:
        found = [shuffled(target, settings.shuffle) for target in found]
    return tuple({target.code: target for target in found}.values())


def load_share_targets(name: str, instrument: Instrument) -> dict[str, Target]:
    """Read answer distributions: country code to target, with the shares in percent as scores.

    Each country has shares for each of the survey's items. An option that is not listed has the
    share 0; nonresponse that the survey leaves out or counts as missing is left out; what the other
    shares of an item then miss 1 by is divided among them.

    Args:
      name: a packaged set (`example_opinions`), or the path of a CSV with the columns code,
        country, item, option (an option's label or its text), share (0 to 1), source, year.
      instrument: the survey.

    Raises:
      UserError: one line with the file's faults, at most 20 of them.
    """
    path, rows = targets_path(name), read_rows(name)
    missing = [column for column in _COLUMNS if column not in (rows[0][1] if rows else ())]
    if missing:
        raise UserError(
            f"survey.targets={name!r}: {path} lacks the columns {', '.join(missing)}, which "
            f"{instrument.name} needs: it compares answer distributions"
        )
    items = {item.id: item for item in instrument.items}
    faults: list[str] = []
    shares: dict[str, dict[str, float]] = {}
    names: dict[str, str] = {}
    sources: dict[str, dict[str, None]] = {}
    years: dict[str, dict[str, None]] = {}
    for number, row in rows:
        cells = {column: row[column].strip() for column in _COLUMNS}
        empty = [column for column, cell in cells.items() if not cell]
        if empty:
            faults.append(f"row {number} has no {', '.join(empty)}")
            continue
        code = cells["code"].upper()
        if names.setdefault(code, cells["country"]) != cells["country"]:
            faults.append(
                f"row {number}: {code} is {names[code]!r} above, not {cells['country']!r}"
            )
        sources.setdefault(code, {})[cells["source"]] = None
        years.setdefault(code, {})[cells["year"]] = None
        item = items.get(cells["item"])
        share = parse_number(cells["share"])
        if item is None:
            faults.append(f"row {number}: {instrument.name} has no item {cells['item']!r}")
        elif (label := _find_option(item, cells["option"])) is None:
            known = ", ".join(label for label, _ in _everything(item))
            faults.append(
                f"row {number}: {item.id} has the options {known}, not {cells['option']!r}"
            )
        elif (key := share_key(item.id, label)) in shares.setdefault(code, {}):
            faults.append(f"row {number}: {code} has option {label!r} of {item.id} twice")
        elif share is None or not 0 <= share <= 1:
            faults.append(f"row {number}: the share {cells['share']!r} is no number from 0 to 1")
        else:
            shares[code][key] = share
    # What is missing because its row is broken is reported once.
    for code, own in () if faults else shares.items():
        for item in instrument.items:
            total = math.fsum(own.get(key, 0.0) for key in item.dimensions)
            others = [share_key(item.id, label) for label, _ in item.nonresponse]
            everything = math.fsum([total, *(own.get(key, 0.0) for key in others)])
            if not any(key in own for key in item.dimensions):
                faults.append(f"{code} has no shares for item {item.id}")
            elif abs(everything - 1) > _ROUNDING:
                faults.append(
                    f"the shares of {code} for {item.id} sum to {everything:.6g}, not to 1"
                )
            elif not total:
                faults.append(f"the shares of {code} for {item.id} are of nonresponse alone")
            else:
                own |= {key: own.get(key, 0.0) / total for key in item.dimensions}
    if faults:
        more = f"; and {len(faults) - _TOLD} more" if len(faults) > _TOLD else ""
        raise UserError(" ".join(f"{path}: {'; '.join(faults[:_TOLD])}{more}".split()))
    return {
        code: Target(
            code=code,
            country=names[code],
            scores={key: round(PERCENT * own[key], 9) for key in instrument.dimensions},
            source="; ".join(sources[code]),
            year=", ".join(years[code]),
        )
        for code, own in shares.items()
    }


def _find_option(item: Item, text: str) -> str | None:
    """Return the label of the option that is named by its label or, in any case, by its text."""
    everything = _everything(item)
    if text in dict(everything):
        return text
    matching = [label for label, option in everything if option.casefold() == text.casefold()]
    return matching[0] if len(matching) == 1 else None


def _everything(item: Item) -> list[tuple[str, str]]:
    """Return label and text of the options and of nonresponse."""
    return [*zip(item.labels, item.options, strict=True), *item.nonresponse]
