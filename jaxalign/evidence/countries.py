"""Several countries side by side: differences and order.

G countries, C dimensions. Differences from a reference country and the order of countries need no
constant C of the survey's formulas: it cancels.
"""

import numpy as np
from jaxtyping import Float

from jaxalign.evidence.statistics import Kendall, kendall_tau


def differences(scores_GC: Float[np.ndarray, "G C"], reference: int) -> Float[np.ndarray, "G C"]:
    """Return scores minus those of the country in row `reference`, in points; 0 in that row."""
    scores_GC = np.asarray(scores_GC, np.float64)
    return scores_GC - scores_GC[reference][None]


def tau_by_dimension(
    scores_GC: Float[np.ndarray, "G C"], target_GC: Float[np.ndarray, "G C"]
) -> list[Kendall]:
    """Return Kendall's tau-b between scores and targets over countries, for C dimensions."""
    return [kendall_tau(x_G, y_G) for x_G, y_G in zip(scores_GC.T, target_GC.T, strict=True)]
