"""Whether a search has nothing left to win and ends before its last generation."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxalign.run.engine import Engine
from jaxalign.settings import SearchSettings


@dataclasses.dataclass(frozen=True)
class EarlyEnd:
    """A rule over the lines of metrics.jsonl alone, so that a resumed run ends where it would have.

    Attributes:
      codes: of the countries.
      wanted: loss of each country at which there is nothing left to win; empty for never.
      patience: generations in which no country's best loss changes, or that of the prompt to keep
        where one is chosen, after which the search has got stuck; 0 for never.
    """

    codes: tuple[str, ...]
    wanted: Mapping[str, float]
    patience: int

    def reason(self, records: Sequence[dict[str, Any]], generation: int) -> str | None:
        """Return the key that ends a search at this generation, or None.

        The generation's own record does not count: it is read one step late.
        """
        last = records[-self.patience - 2 :]
        best = [self._best(one) for one in last if one["generation"] < generation]
        if not best:
            return None
        met = [
            (loss := best[-1][code]) is not None and loss <= goal
            for code, goal in self.wanted.items()
        ]
        if met and all(met):
            return "stop_loss"
        kept = [self._best(one, "chosen_loss") for one in last if one["generation"] < generation]
        recent = kept[-self.patience - 1 :]
        if 0 < self.patience < len(recent) and all(a == b for a, b in itertools.pairwise(recent)):
            return "patience"
        return None

    def _best(self, record: dict[str, Any], key: str = "best_loss") -> dict[str, float | None]:
        countries = record.get("countries", dict.fromkeys(self.codes, record))
        return {code: countries[code].get(key, countries[code]["best_loss"]) for code in self.codes}


def early_end(
    search: SearchSettings, engine: Engine, codes: Sequence[str], noisy: bool
) -> EarlyEnd:
    """Return the rule of a run for countries with these codes.

    The best loss of a noisy search is luck, and meets no goal.
    """
    naive_G = np.asarray(engine.unquantised.loss_GP[:, 0], float)
    goals = dict(zip(codes, search.stop_loss * naive_G, strict=True))
    wanted = goals if search.stop_loss and not noisy else {}
    return EarlyEnd(tuple(codes), wanted, search.patience)
