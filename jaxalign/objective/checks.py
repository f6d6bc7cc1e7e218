"""Whether a strategy can search for what the settings ask for."""

from jaxalign.errors import UserError
from jaxalign.prompts import Sets
from jaxalign.search import Strategy
from jaxalign.settings import ObjectiveSettings
from jaxalign.survey import DISTRIBUTION, Instrument


def check_objective(
    settings: ObjectiveSettings, instrument: Instrument, sets: Sets, strategy: Strategy
) -> None:
    """Check that a strategy finds what it needs.

    Raises:
      UserError: it reads answers, and scores are not linear in them; or presentations are asked
        some at a time, and its members cannot be evaluated again.
    """
    if strategy.reads_answers:
        _check_linear(settings, instrument, strategy)
    if settings.at_a_time:
        _check_turns(settings, sets, strategy)


def _check_linear(settings: ObjectiveSettings, instrument: Instrument, strategy: Strategy) -> None:
    wrong = []
    if instrument.scoring == DISTRIBUTION:
        wrong.append(f"survey.instrument={instrument.name}, which has answer distributions")
    if settings.readout != "expected":
        wrong.append(f"objective.readout={settings.readout}; give expected")
    if settings.tail < 1:
        wrong.append(f"objective.tail={settings.tail:g}; give 1")
    if settings.at_a_time:
        wrong.append(f"objective.at_a_time={settings.at_a_time}; give 0")
    if not settings.terms.survey:
        wrong.append("objective.terms.survey=0; give a number above 0")
    if wrong:
        raise UserError(
            f"search.strategy={strategy.name!r} models expected answers and the scores they add up "
            f"to; it cannot with {' and '.join(wrong)}; another strategy, such as LSHADE, can"
        )


def _check_turns(settings: ObjectiveSettings, sets: Sets, strategy: Strategy) -> None:
    given = f"objective.at_a_time={settings.at_a_time}"
    if not sets.choose or settings.at_a_time >= len(sets.tune):
        raise UserError(
            f"{given}: give objective.formats=pool:N with N above that, of which so many are asked"
        )
    if not settings.reevaluate:
        raise UserError(f"{given}: objective.reevaluate=0 would never ask others; give 5")
    if not strategy.exchanges:
        raise UserError(
            f"{given}: search.strategy={strategy.name!r} has no members to evaluate again when "
            "others are asked; LSHADE has"
        )
