"""The settings of a sweep: `--sweep=population=16,64` and the like, made a grid of settings."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

from jaxalign.config import flatten, to_plain, with_keys
from jaxalign.errors import UserError
from jaxalign.search import check_strategy
from jaxalign.settings import Settings

# Where two keys end alike, the one that is meant; any other key may be named by its end too.
_MEANT = {"population": "search.population"}


@dataclasses.dataclass(frozen=True, eq=False)
class Point:
    """One setting to measure.

    Attributes:
      swept: what sets it apart, by full config key.
      settings: with that in them.
    """

    swept: dict[str, Any]
    settings: Settings


def make_points(settings: Settings, sweeps: Sequence[str]) -> list[Point]:
    """Return every combination of what is swept, the last key's values changing fastest.

    Args:
      settings: of what is not swept.
      sweeps: `KEY=VALUE,VALUE…` each; none for the config alone.

    Raises:
      UserError: naming the sweep, or the setting, that is wrong.
    """
    values: dict[str, list[Any]] = {}
    for sweep in sweeps:
        key, found = _parse(settings, sweep)
        if key in values:
            raise UserError(
                f"--sweep={sweep}: {key} is swept twice; give all values in one --sweep"
            )
        values[key] = found
    points = []
    for combination in itertools.product(*values.values()):
        swept = dict(zip(values, combination, strict=True))
        try:
            own = with_keys(settings, swept)
            check_strategy(own.search)
        except UserError as error:
            raise UserError(f"--sweep: {error}" if swept else str(error)) from error
        points.append(Point(swept, own))
    return points


def _parse(settings: Settings, sweep: str) -> tuple[str, list[Any]]:
    name, equals, rest = sweep.partition("=")
    texts = [text.strip() for text in rest.split(",")]
    if not name or not equals or not all(texts):
        raise UserError(f"--sweep={sweep}: write KEY=VALUE,VALUE such as population=16,64")
    defaults = flatten(to_plain(settings))
    key = _MEANT.get(name, name)
    if key not in defaults:
        ends = [full for full in defaults if full.endswith(f".{key}")]
        if len(ends) != 1:
            known = ", ".join(ends) or "such as search.population"
            raise UserError(
                f"--sweep={sweep}: {name} names no key; give one of the config, {known}"
            )
        key = ends[0]
    kind = type(defaults[key])
    try:
        found = [kind(text) for text in texts]
    except (TypeError, ValueError):
        raise UserError(f"--sweep={sweep}: values must be of type {kind.__name__}") from None
    if len(set(map(str, found))) != len(found):
        raise UserError(f"--sweep={sweep}: a value stands there twice")
    return key, found
