"""The logarithmic loss axis that the plots of a comparison share."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from jaxalign.report.comparison.histories import Run
from jaxalign.report.drawing import INK, NAIVE_DASHES, set_log_axis
from jaxalign.report.numbers import format_loss

WIDTH = 10.0  # inches; 9 points are then 12 pixels of 1000
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
        """Make the axis that holds the naive losses and these, as far as a logarithm can."""
        naive = [run.naive_loss for run in runs]
        finite = [loss for loss in losses if math.isfinite(loss)]
        shown = [loss for loss in finite if loss >= _DEPTH * max(naive)]
        clips = len(shown) < len(finite)
        return cls(min(shown + naive) / (2 if clips else 1.15), max(shown + naive) * 1.15, clips)

    @property
    def note(self) -> str:
        """What to say below the plot if a loss lies beyond the axis."""
        return f"; at the edge: {self.low:.2g} or less" if self.clips else ""

    def clip(self, losses: Sequence[float]) -> np.ndarray:
        """Move losses onto the axis; inf becomes a gap."""
        array = np.array(losses, float)
        return np.where(np.isfinite(array), np.maximum(array, self.low), np.nan)

    def set(self, axes: Axes, which: str, run: Run) -> None:
        """Make the x or the y axis this one, with the title and the naive loss of a country."""
        set_log_axis(axes, which, self.low, self.high)
        axes.set_title(f"{run.country}, naive {format_loss(run.naive_loss)}")
        draw = axes.axvline if which == "x" else axes.axhline
        draw(run.naive_loss, color=INK, linewidth=1, linestyle=NAIVE_DASHES, zorder=2)
