"""What the plots of a comparison share: the loss axis, the size of the page, the words below."""

import dataclasses
import math
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxalign.report.comparison.histories import Run
from jaxalign.report.drawing import MUTED

WIDTH = 10.0  # inches; 9 points are then 12 pixels of 1000
NAIVE_DASHES = (0, (2, 2))
_DEPTH = 1e-4  # of the naive loss: a smaller loss, 0 above all, would flatten all others


@dataclasses.dataclass(frozen=True)
class LossAxis:
    """One logarithmic axis for all panels.

    Attributes:
      low, high: its ends.
      clips: whether there is a loss below `low`, to be drawn there.
    """

    low: float
    high: float
    clips: bool

    @classmethod
    def holding(cls, runs: Sequence[Run], losses: Sequence[float]) -> "LossAxis":
        """Makes the axis that holds the naive losses and these, as far as a logarithm can."""
        naive = [run.naive_loss for run in runs]
        finite = [loss for loss in losses if math.isfinite(loss)]
        shown = [loss for loss in finite if loss >= _DEPTH * max(naive)]
        clips = len(shown) < len(finite)
        return cls(min(shown + naive) / (2 if clips else 1.15), max(shown + naive) * 1.15, clips)

    @property
    def note(self) -> str:
        """What to say below the plot where a loss has no place on it."""
        return f"; at the edge: {self.low:.2g} or less" if self.clips else ""

    def clip(self, losses: Sequence[float]) -> np.ndarray:
        """Moves losses onto the axis; inf becomes a gap."""
        array = np.array(losses, float)
        return np.where(np.isfinite(array), np.maximum(array, self.low), np.nan)

    def share(self, loss: float) -> float:
        """Returns where on the axis a loss stands, from 0 to 1; inf stands at the upper end."""
        if math.isinf(loss):
            return 1.0
        return math.log(max(loss, self.low) / self.low) / math.log(self.high / self.low)

    def set(self, axes: Axes, which: str) -> None:
        """Makes the x or the y axis this one, labelled between decades where there are few."""
        getattr(axes, f"set_{which}scale")("log")
        getattr(axes, f"set_{which}lim")(self.low, self.high)
        axis = getattr(axes, f"{which}axis")
        decades = math.log10(self.high / self.low)
        subs = (1, 2, 5) if decades < 1.5 else (1, 3) if decades < 2.5 else (1,)
        axis.set_major_locator(matplotlib.ticker.LogLocator(subs=subs))
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_formatter(matplotlib.ticker.NullFormatter())


def add_about(figure: Figure, text: str, notice: str | None) -> None:
    """Says what is drawn, above the notice."""
    place = 0.3 if notice else 0.1
    figure.text(0.02, place / figure.get_figheight(), text, fontsize=8.5, color=MUTED)
