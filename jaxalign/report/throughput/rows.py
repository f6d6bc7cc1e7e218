"""All figures of one setting, as rows of text."""

from typing import Any

from jaxalign.report.pages import render


def rows(figures: dict[str, Any]) -> dict[str, str]:
    """Return what was measured in one setting, and its figures, by name."""
    text = render("throughput.txt", f=figures, describe_losses=describe_losses)
    return dict(line.split(": ", 1) for line in text.splitlines())


def describe_losses(losses: dict[str, Any]) -> str:
    """Say how far the peer's losses are from ours, and whether that is within the tolerance."""
    if losses["largest_difference"] is None:
        return "NOT FINITE"
    largest = f"{losses['largest_difference']:.1e}"
    if losses["equal"] is None:
        return f"{largest} apart"
    if losses["equal"]:
        return f"equal, at most {largest} apart"
    return f"DIFFER by {largest}, allowed are {losses['allowed']:g}"
