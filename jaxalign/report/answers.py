"""The answer distributions of a summary, item by item."""

from typing import Any, NamedTuple

KINDS = {"target": "target", "naive": "naive_scores", "tuned": "scores"}


class Answers(NamedTuple):
    """The answers to one item.

    Attributes:
      id, text: of the item.
      options: texts of the options.
      measure: `Wasserstein-1` or `Jensen-Shannon`.
      shares: of the options, in percent, of `target`, `naive` and `tuned`.
      distance: to the target, in percent, of `constant`, `naive` and `best`.
    """

    id: str
    text: str
    options: tuple[str, ...]
    measure: str
    shares: dict[str, list[float | None]]
    distance: dict[str, float | None]


def read_answers(summary: dict[str, Any]) -> list[Answers]:
    """Return the items of a summary; none if its scores are not distributions of answers."""
    return [
        Answers(
            id=id_,
            text=item["text"],
            options=tuple(item["options"].values()),
            measure=item["measure"],
            shares={
                kind: [(summary.get(field) or {}).get(key) for key in item["options"]]
                for kind, field in KINDS.items()
            },
            distance=item["distance"],
        )
        for id_, item in (summary.get("items") or {}).items()
    ]
