"""How numbers are written, the same in the terminal, the plots and the pages."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

MISSING = "–"
_MINUS = "\N{MINUS SIGN}"


def format_loss(loss: float | None) -> str:
    """Write a loss with one decimal, or two digits below 1; a dash if None or not finite."""
    if loss is None or not math.isfinite(loss):
        return MISSING
    return f"{loss:,.1f}" if abs(loss) >= 1 or loss == 0 else f"{loss:.2g}"


def format_score(score: float | None, digits: int = 1) -> str:
    """Write a number with this many decimals; a dash if None or not finite."""
    if score is None or not math.isfinite(score):
        return MISSING
    text = f"{score:.{digits}f}"
    return (text if float(text) else text.lstrip("-")).replace("-", _MINUS)


def format_shares(shares: Iterable[float | None]) -> str:
    """Write shares in whole percent, in the order of the options."""
    return " ".join(format_score(share, 0) for share in shares)


def format_difference(difference: float | None) -> str:
    """Write a difference of losses or scores like a loss, with its sign."""
    text = format_loss(None if difference is None else abs(difference))
    if text == MISSING or not difference:
        return text
    return f"{_MINUS if difference < 0 else '+'}{text}"


def format_percent(share: float | None, digits: int = 1) -> str:
    """Write a share (0 to 1) in percent."""
    text = format_score(None if share is None else 100 * share, digits)
    return text if text == MISSING else f"{text}%"


def format_p(p: float | None) -> str:
    """Write a p-value with three decimals, or as <0.001."""
    if p is None or not math.isfinite(p):
        return MISSING
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def format_interval(
    interval: Sequence[float | None] | None, write: Callable[[float | None], str] = format_loss
) -> str:
    """Write both ends of an interval, joined by "to", since ends may be negative."""
    return MISSING if interval is None else f"{write(interval[0])} to {write(interval[1])}"


def format_seconds(seconds: float | None) -> str:
    """Write a duration as m:ss, or h:mm:ss from an hour on."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    minutes, rest = divmod(round(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def format_setting(value: Any) -> str:
    """Write a value of the config."""
    if isinstance(value, dict):
        parts = (f"{key} = {format_setting(part)}" for key, part in value.items())
        return ", ".join(parts) or "defaults"
    if isinstance(value, list):
        return ", ".join(format_setting(part) for part in value)
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:g}"
    return "none" if value is None else str(value)


def score_digits(summary: dict[str, Any]) -> int:
    """Return how many decimals the scores of a summary need: two if all targets are small."""
    return 1 if max(map(abs, summary["target"].values()), default=0) >= 10 else 2


def loss_unit(summary: dict[str, Any]) -> str:
    """Return what the losses of a summary measure: the norm, or a mean distance over items."""
    norm = str(summary.get("norm", ""))
    if summary.get("scoring") != "distribution":
        return norm.upper()
    return "mean distance, %" if norm == "l1" else "root mean square distance, %"


def baseline_name(summary: dict[str, Any]) -> str:
    """Return the name of the null baseline, whose answers do not depend on the question."""
    return str(summary.get("baseline", "constant answer"))


def country_name(summary: dict[str, Any]) -> str:
    """Return the country of a summary by name, or by code if it has no name."""
    return str(summary.get("country_name") or summary["country"])


def share_of_naive(loss: dict[str, float | None], key: str = "best") -> float | None:
    """Return a loss as a share of the naive one, None if either is missing or the naive is 0."""
    value, naive = loss.get(key), loss.get("naive")
    return value / naive if naive and value is not None else None


def distance(score: float | None, target: float) -> float | None:
    """Return |score - target|, or None if there is no score."""
    return None if score is None or not math.isfinite(score) else abs(score - target)
