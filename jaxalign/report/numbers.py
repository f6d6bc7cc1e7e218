"""How a number is written, the same in the terminal, the plots and the page."""

import math
from collections.abc import Iterable
from typing import Any

MISSING = "–"


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
