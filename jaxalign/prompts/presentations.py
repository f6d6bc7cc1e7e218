"""Presentations: one survey put in many ways, which share nothing but what is asked.

A presentation has a level of each factor: order and labels of the options, wording, system message,
and place in a conversation. What a soft prompt was tuned on holds for the levels that it has seen;
so levels are dealt out whole, and those that prove a prompt are in no presentation that made it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import NamedTuple

import numpy as np
import yaml

from jaxalign.errors import UserError
from jaxalign.prompts.formats import INSTRUCTED, LABELS, USUAL, Format, parse_format
from jaxalign.survey import Instrument, load_wordings

FACTORS = ("order", "labels", "wording", "system", "conversation")
POOL, _POOL = "pool", 8  # name and default size of a drawn set to tune on
CHOOSE, TEST = 4, 12  # presentations of these sets
_SEED = 20131  # mixed into the run's, so that no other draw is the same
_HOW = "ORDER/LABELS@WORDING+MESSAGE, all but the order optional"


@dataclass(frozen=True)
class Presentation:
    """One way to put a survey.

    Attributes:
      instrument: the survey, in one of its wordings.
      shown: format of the options.
      wording: the wording's short name; empty for the survey's own.
      system: name and text of a system message, or None.
      conversation: name and turns of an earlier exchange, or None.
    """

    instrument: Instrument
    shown: Format = USUAL
    wording: str = ""
    system: tuple[str, str] | None = None
    conversation: tuple[str, tuple[tuple[str, str], ...]] | None = None

    @property
    def name(self) -> str:
        """As the user types it, such as `reversed/letters@formal+brief+weather`."""
        before = [each[0] for each in (self.system, self.conversation) if each]
        return "+".join([self.shown.name + f"@{self.wording}" * bool(self.wording), *before])

    @property
    def levels(self) -> dict[str, str]:
        """The level of each factor, by its name; empty where there is nothing."""
        system, conversation = (
            each[0] if each else "" for each in (self.system, self.conversation)
        )
        found = (self.shown.order, self.shown.labels, self.wording, system, conversation)
        return dict(zip(FACTORS, found, strict=True))


def present(instrument: Instrument, *formats: Format) -> list[Presentation]:
    """Return a survey's own wording in some formats, with nothing before it."""
    return [Presentation(instrument, shown) for shown in formats]


class Sets(NamedTuple):
    """Presentations to tune on, to choose among prompts by, and to test the chosen one on."""

    tune: tuple[Presentation, ...]
    choose: tuple[Presentation, ...]
    test: tuple[Presentation, ...]


@dataclass(frozen=True)
class Levels:
    """All ways to put one survey.

    Attributes:
      orders, labels: of the options.
      wordings: by short name, the survey's own by the empty one.
      systems: texts by name; conversations: turns by name.
    """

    orders: tuple[str, ...]
    labels: tuple[str, ...]
    wordings: Mapping[str, Instrument]
    systems: Mapping[str, str]
    conversations: Mapping[str, tuple[tuple[str, str], ...]]

    def make(
        self, order: str, labels: str, wording: str, system: str, conversation: str
    ) -> Presentation:
        """Return the presentation with these levels."""
        return Presentation(
            self.wordings[wording],
            Format(order, labels),
            wording,
            (system, self.systems[system]) if system else None,
            (conversation, self.conversations[conversation]) if conversation else None,
        )

    def parse(self, name: str) -> Presentation:
        """Return the presentation of a name, such as `reversed/letters@formal+brief`.

        Raises:
          UserError: it is not one.
        """
        head, *before = name.split("+")
        shown, _, wording = head.partition("@")
        form = parse_format(shown)
        systems = [each for each in before if each in self.systems]
        conversations = [each for each in before if each in self.conversations]
        known = [*self.systems, *self.conversations]
        faults = [
            f"message {each!r}: there are {', '.join(known)}"
            for each in before
            if each not in known
        ]
        if wording not in self.wordings or head.endswith("@"):
            there = ", ".join(filter(None, self.wordings)) or "none of this survey"
            faults.append(f"wording {wording!r}: there are {there}")
        if len(systems) > 1 or len(conversations) > 1:
            faults.append("one system message and one conversation at most")
        if faults:
            raise UserError(f"presentation {name!r}: {'; '.join(faults)} (give {_HOW})")
        system, conversation = (each[0] if each else "" for each in (systems, conversations))
        return self.make(form.order, form.labels, wording, system, conversation)


def read_levels(instrument: Instrument, languages: Sequence[str] = ()) -> Levels:
    """Return all ways to put a survey.

    Args:
      instrument: the survey.
      languages: of its other wordings, beside its own; `all` for every one.
    """
    most = max(len(item.options) - item.fixed for item in instrument.items)
    cyclic = tuple(f"cyclic{first}" for first in range(1, most)) if most > 2 else ()
    packaged = resources.files("jaxalign.prompts") / "data" / "presentations.yaml"
    before = yaml.safe_load(packaged.read_text(encoding="utf-8"))
    spoken = {instrument.language, *languages}
    others = {
        name: other
        for name, other in load_wordings(instrument).items()
        if "all" in languages or other.language in spoken
    }
    told = instrument.instructions
    named = [kind for kind in LABELS[1:] if INSTRUCTED.get(kind, kind) in told]
    numbered = all(
        item.labels == tuple(str(place + 1) for place in range(len(item.labels)))
        for item in instrument.items
    )
    return Levels(
        orders=("identity", "reversed", *cyclic),
        labels=("own", *(kind for kind in named if kind != "numbers" or not numbered)),
        wordings={"": instrument} | others,
        systems=before["systems"],
        conversations={
            name: tuple((user, assistant) for user, assistant in turns)
            for name, turns in before["conversations"].items()
        },
    )


def find_sets(levels: Levels, names: Sequence[str], seed: int) -> Sets:
    """Return the presentations of a spec.

    Args:
      levels: of the survey.
      names: `pool`, `pool:N`, or presentations by name. Those leave nothing to choose by, and of
        the test drop out all that share an unusual level with them.
      seed: of the run.

    Raises:
      UserError: a name is wrong.
    """
    pools = [name for name in names if name.partition(":")[0] == POOL]
    if pools:
        size = pools[0].partition(":")[2] or str(_POOL)
        if len(names) > 1 or not size.isdecimal() or not int(size):
            raise UserError(
                f"objective.formats={','.join(names)}: a pool stands alone, as {POOL} or {POOL}:N "
                "with N presentations"
            )
        return draw_sets(levels, int(size), seed)
    tune = tuple(map(levels.parse, names))
    usual = draw_sets(levels, 1, seed)
    tuned = {level for way in tune for level in way.levels.items()}
    test = [way for way in usual.test if not tuned & set(_unusual(levels, way))]
    return Sets(tune, (), tuple(test))


def alone(levels: Levels, way: Presentation) -> list[Presentation]:
    """Return the usual presentation with one unusual level of another at a time."""
    usual = {"order": "identity", "labels": "own", "wording": "", "system": "", "conversation": ""}
    return [levels.make(**usual | {factor: level}) for factor, level in _unusual(levels, way)]


def _unusual(levels: Levels, way: Presentation) -> list[tuple[str, str]]:
    """Return factors and levels that are not the only ones there are, nor of every tuning set."""
    usual = {"order": levels.orders[:2], "labels": levels.labels[:1]}
    return [
        (factor, level)
        for factor, level in way.levels.items()
        if level not in usual.get(factor, ("",))
    ]


def draw_sets(levels: Levels, size: int, seed: int) -> Sets:
    """Deal the levels out to three sets, and draw presentations of each.

    Of each factor's n levels n // 3 test, n // 4 choose and the others tune. Where only one level
    is left to choose by, one that is tuned on chooses too, since a prompt should not be judged by
    one odd level alone; with fewer than three levels that is the only one. A single level is in all
    sets. What is usual (the survey's own wording and labels, in the usual or the reversed order,
    with nothing before it) is tuned on, and is the first presentation of that set. Within a set
    each factor's levels occur equally often, give or take one.

    Args:
      levels: of the survey.
      size: presentations to tune on, at least 1; those of the others are `CHOOSE` and `TEST`, or as
        many as there are.
      seed: of the run.
    """
    rng, *rngs = (np.random.default_rng([_SEED, seed, draw]) for draw in range(4))
    dealt = [
        _deal(levels.orders, 2, rng),
        _deal(levels.labels, 1, rng),
        _deal_wordings(levels, rng),
        _deal(("", *levels.systems), 1, rng),
        _deal(("", *levels.conversations), 1, rng),
    ]
    usual = levels.make("identity", "own", "", "", "")
    sets = []
    for part, count in enumerate((size, CHOOSE, TEST)):
        own = [factor[part] for factor in dealt]
        count = min(count, int(np.prod([len(each) for each in own])))
        sets.append(_draw(levels, own, count, rngs[part], [usual] if part == 0 else []))
    return Sets(*sets)


def _deal(
    names: Sequence[str], usual: int, rng: np.random.Generator
) -> tuple[list[str], list[str], list[str]]:
    """Return names to tune, to choose and to test; the first `usual` ones are tuned on."""
    own, others = list(names[:usual]), [str(each) for each in rng.permutation(names[usual:])]
    if not others:
        return own, own, own
    test = max(1, len(names) // 3)
    choose = max(1, len(names) // 4) if len(others) > test else 0
    tuned, chosen = own + others[test + choose :], others[test : test + choose]
    return tuned, chosen + tuned[-1:] if len(chosen) < 2 else chosen, others[:test]


def _deal_wordings(levels: Levels, rng: np.random.Generator) -> tuple[list[str], ...]:
    """Deal wordings in the survey's language and those in others apart, so that both are split."""
    own = levels.wordings[""].language
    here = [name for name, each in levels.wordings.items() if each.language == own]
    abroad = [name for name in levels.wordings if name not in here]
    parts = zip(_deal(here, 1, rng), _deal(abroad, 0, rng), strict=True)
    return tuple([*near, *far] for near, far in parts)


def _draw(
    levels: Levels,
    own: Sequence[Sequence[str]],
    count: int,
    rng: np.random.Generator,
    drawn: list[Presentation],
) -> tuple[Presentation, ...]:
    """Return `count` different presentations, those already drawn included."""
    turns = [_endless(factor, rng) for factor in own]
    while len(drawn) < count:
        way = levels.make(*(next(turn) for turn in turns))
        if way not in drawn:
            drawn.append(way)
    return tuple(drawn)


def _endless(names: Sequence[str], rng: np.random.Generator) -> Iterator[str]:
    while True:
        yield from map(str, rng.permutation(names))
