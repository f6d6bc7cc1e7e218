"""Whether answers hold when the same questions are put in another way."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxalign.evidence.asking import Asker
from jaxalign.prompts import Asked, Format, ask_items
from jaxalign.survey import Instrument

# Instructions that say nothing about whom to answer for.
SYSTEMS = (
    "Answer briefly.",
    "You are taking part in a survey.",
    "Be honest. There is no right or wrong answer.",
)


@dataclass(frozen=True)
class Presentation:
    """One way to put the survey.

    Attributes:
      instrument: with a wording of the items.
      shown: format of the options.
      system: a neutral system message, or None.
      seen: whether the search was scored on it.
      name: for people.
    """

    instrument: Instrument
    shown: Format
    system: str | None
    seen: bool
    name: str

    def ask(self, persona: str | None = None) -> list[Asked]:
        """Return the items, behind a persona if one is given."""
        system = " ".join(filter(None, (self.system, persona))) or None
        return ask_items(self.instrument, self.shown, system)


def presentations(
    instrument: Instrument, seen: Sequence[Format], others: Sequence[Instrument]
) -> list[Presentation]:
    """Return the formats of the search, then the held-out ones.

    Kinds of labels that the survey has no instruction for are left out.

    Args:
      instrument: that the search asked.
      seen: formats that it asked in.
      others: other wordings of the same items.
    """
    most = max(len(item.options) - item.fixed for item in instrument.items)
    orders = ["identity", "reversed", *(f"cyclic{first}" for first in range(1, most))]
    labels = ["own", *(kind for kind in ("letters", "words") if kind in instrument.instructions)]
    made = [Presentation(instrument, shown, None, True, shown.name) for shown in seen]
    made += [
        Presentation(instrument, shown, None, False, shown.name)
        for kind in labels
        for shown in (Format(order, kind) for order in orders)
        if shown not in seen
    ]
    for other in others:
        kinds = [kind for kind in labels if kind == "own" or kind in other.instructions]
        formats = [*seen, *(Format(labels=kind) for kind in kinds[1:])]
        made += [
            Presentation(other, shown, None, False, f"{other.name}: {shown.name}")
            for shown in formats
        ]
    made += [
        Presentation(instrument, shown, system, False, f"“{system}” {shown.name}")
        for system in SYSTEMS
        for shown in seen
    ]
    return made


def ask_everywhere(
    asker: Asker,
    ways: Sequence[Presentation],
    prompt_LD: np.ndarray,
    persona: str | None,
    norm: str,
    dimensions: Sequence[str],
) -> dict[str, list[dict[str, Any]]]:
    """Return loss and scores of naive, persona and tuned in each presentation, by method.

    Args:
      asker: of the model.
      ways: presentations.
      prompt_LD: the tuned prompt.
      persona: text of the method `persona`, or None for none.
      norm: of the loss.
      dimensions: keys, in the order of the scores.
    """
    plain = [one for way in ways for one in way.ask()]
    spoken = [one for way in ways for one in way.ask(persona)] if persona else []
    alone = asker.ask([*plain, *spoken])[0]
    answered = {
        "naive": alone[: len(plain)],
        "tuned": asker.ask(plain, prompt_LD[None])[0],
    }
    if persona:
        answered["persona"] = alone[len(plain) :]
    found = {}
    for method, shares in answered.items():
        scores_WC, loss_GW = asker.measure(shares.reshape(len(ways), -1, shares.shape[-1]), norm)
        found[method] = [
            {"loss": float(loss), "scores": dict(zip(dimensions, scores_C.tolist(), strict=True))}
            for loss, scores_C in zip(loss_GW[0], scores_WC, strict=True)
        ]
    return found
