"""Formats: the same question with its options in another order, or under other labels.

Language models answer by an option's position and label as much as by its content, so one format
is not enough to know what a prompt does. Whatever the format, answers are kept in the survey's own
order of options.
"""

import re
from dataclasses import dataclass

from jaxalign.errors import UserError
from jaxalign.survey import Instrument, Item

ORDERS = ("identity", "reversed", "cyclicN")
LABELS = ("own", "numbers", "letters", "words", "lowercase", "zero")
INSTRUCTED = {"lowercase": "letters", "zero": "numbers"}  # by the instruction for other labels
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_HOW = (
    "ORDER or ORDER/LABELS, with an order among identity, reversed and cyclicN (begins at the "
    f"option after the Nth) and labels among {', '.join(LABELS)}"
)


@dataclass(frozen=True)
class Format:
    """How options are presented.

    Attributes:
      order: `identity`, `reversed`, or `cyclicN`, which begins at the option after the Nth.
      labels: `own` as the survey file has them; by place on the list `numbers` from 1, `zero` from
        0, `letters` from A and `lowercase` ones; or `words`: an option is its own label.
    """

    order: str = "identity"
    labels: str = "own"

    @property
    def name(self) -> str:
        """As the user types it."""
        return self.order if self.labels == "own" else f"{self.order}/{self.labels}"

    def places(self, options: int, fixed: int = 0) -> list[int]:
        """Return indices of a question's options in the order shown; the last `fixed` stay."""
        free, last = options - fixed, list(range(options - fixed, options))
        if self.order == "reversed":
            return [*range(free)][::-1] + last
        first = 0 if self.order == "identity" else int(self.order.removeprefix("cyclic"))
        return [(first + place) % free for place in range(free)] + last

    def shown(self, item: Item) -> list[tuple[str, str]]:
        """Label and option text in the order in which they are shown.

        Labels of the survey's own go with the place on the list too: the first option shown has the
        first label. Nonresponse, where it is offered, stands last.
        """
        options = [item.options[index] for index in self.places(len(item.options), item.fixed)]
        own = list(item.labels)
        for label, option in item.nonresponse if item.offers_nonresponse else ():
            own.append(label)
            options.append(option)
        count = len(options)
        labels = {
            "own": own,
            "numbers": [str(number + 1) for number in range(count)],
            "letters": list(_LETTERS[:count]),
            "words": options,
            "lowercase": list(_LETTERS[:count].lower()),
            "zero": [str(number) for number in range(count)],
        }[self.labels]
        return list(zip(labels, options, strict=True))

    def labels_of(self, item: Item) -> tuple[str, ...]:
        """Return the label of each option, in the survey's order of options."""
        labels = [""] * len(item.options)
        places = self.places(len(item.options), item.fixed)
        for (label, _), index in zip(self.shown(item), places, strict=False):
            labels[index] = label
        return tuple(labels)

    def nonresponse_of(self, item: Item) -> tuple[tuple[str, str], ...]:
        """Return label and text of the nonresponse that is offered."""
        return tuple(self.shown(item)[len(item.options) :])

    def instruction(self, instrument: Instrument) -> str:
        """Return the instruction.

        Raises:
          UserError: the survey has no instruction for these labels.
        """
        if self.labels == "own":
            return instrument.instruction
        kind = INSTRUCTED.get(self.labels, self.labels)
        if kind not in instrument.instructions:
            raise UserError(
                f"format {self.name!r}: survey {instrument.name} has no instructions.{kind}, the "
                "instruction for answering with such labels"
            )
        return instrument.instructions[kind]


USUAL = Format()


def parse_format(name: str) -> Format:
    """Return the format of a name, such as `reversed` or `cyclic2/letters`.

    Raises:
      UserError: it is not one.
    """
    order, _, labels = name.partition("/")
    labels = labels or "own"
    known = order in ORDERS[:2] or re.fullmatch(r"cyclic[1-9]\d?", order)
    if not known or labels not in LABELS or name.endswith("/"):
        raise UserError(f"format {name!r}: give {_HOW}")
    return Format(order, labels)
