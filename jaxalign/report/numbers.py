"""How a number is written, the same in the terminal, the plots and the page."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

MISSING = "–"
_MINUS = "\N{MINUS SIGN}"


def format_loss(loss: float | None) -> str:
    """Writes a loss with one decimal, two digits below 1; None and non-finite become a dash."""
    if loss is None or not math.isfinite(loss):
        return MISSING
    return f"{loss:,.1f}" if abs(loss) >= 1 or loss == 0 else f"{loss:.2g}"


def format_score(score: float | None, digits: int = 1) -> str:
    """Writes a score with so many decimals; never clipped, a dash where there is none."""
    if score is None or not math.isfinite(score):
        return MISSING
    text = f"{score:.{digits}f}"
    return (text if float(text) else text.lstrip("-")).replace("-", "\N{MINUS SIGN}")


def score_digits(summary: dict[str, Any]) -> int:
    """How many decimals the scores of a summary need: one, or two where all targets are small."""
    return 1 if max(map(abs, summary["target"].values()), default=0) >= 10 else 2


def format_shares(shares: Iterable[float | None]) -> str:
    """Writes shares in whole percent, in the order of the options."""
    return " ".join(format_score(share, 0) for share in shares)


def loss_unit(summary: dict[str, Any]) -> str:
    """What the losses of a summary are: the norm, or for distributions a mean over items."""
    norm = str(summary.get("norm", ""))
    if summary.get("scoring") != "distribution":
        return norm.upper()
    return "mean distance, %" if norm == "l1" else "root mean square distance, %"


def baseline_name(summary: dict[str, Any]) -> str:
    """What the loss under `constant` belongs to: answers that do not depend on the question."""
    return str(summary.get("baseline", "constant answer"))


def format_difference(difference: float | None) -> str:
    """Writes a difference of losses or scores as a loss with its sign."""
    text = format_loss(None if difference is None else abs(difference))
    if text == MISSING or not difference:
        return text
    return f"{_MINUS if difference < 0 else '+'}{text}"


def format_decimals(value: float | None, decimals: int = 2) -> str:
    """Writes a number with so many decimals."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{value:.{decimals}f}".replace("-", _MINUS)


def format_percent(share: float | None, decimals: int = 1) -> str:
    """Writes a share of 1 in percent."""
    text = format_decimals(None if share is None else 100 * share, decimals)
    return text if text == MISSING else f"{text}%"


def format_p(p: float | None) -> str:
    """Writes a p-value with three decimals, or as below 0.001."""
    if p is None or not math.isfinite(p):
        return MISSING
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def format_interval(
    interval: Sequence[float | None] | None, write: Callable[[float | None], str] = format_loss
) -> str:
    """Writes both ends of an interval, joined by a word, since ends may be below zero."""
    return MISSING if interval is None else f"{write(interval[0])} to {write(interval[1])}"


def format_seconds(seconds: float | None) -> str:
    """Writes a duration as m:ss, or h:mm:ss from an hour on."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    minutes, rest = divmod(round(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def distance(score: float | None, target: float) -> float | None:
    """Returns |score - target|, or None where there is no score."""
    return None if score is None or not math.isfinite(score) else abs(score - target)
