"""How a number is written, the same in the terminal, the plots and the page."""

import math

MISSING = "–"


def format_loss(loss: float | None) -> str:
    """Writes a loss with one decimal, two digits below 1; None and non-finite become a dash."""
    if loss is None or not math.isfinite(loss):
        return MISSING
    return f"{loss:,.1f}" if abs(loss) >= 1 or loss == 0 else f"{loss:.2g}"


def format_score(score: float | None) -> str:
    """Writes a score with one decimal; never clipped, a dash where there is none."""
    if score is None or not math.isfinite(score):
        return MISSING
    text = f"{score:.1f}"
    return "0.0" if text == "-0.0" else text.replace("-", "\N{MINUS SIGN}")


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
