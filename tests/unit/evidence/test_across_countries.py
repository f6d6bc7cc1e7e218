"""Countries side by side, against numpy and scipy written out."""

import numpy as np
from scipy import stats

from jaxalign.evidence.countries import differences, tau_by_dimension

RNG = np.random.default_rng(0)
SCORES_GC, TARGET_GC = RNG.uniform(-50, 150, (2, 5, 6))


def test_differences_and_order_need_no_constant():
    moved_GC = SCORES_GC + RNG.uniform(-100, 100, 6)
    np.testing.assert_allclose(differences(moved_GC, 3), differences(SCORES_GC, 3), atol=1e-9)
    np.testing.assert_array_equal(differences(SCORES_GC, 3)[3], 0)
    assert differences(SCORES_GC, 0)[4, 1] == SCORES_GC[4, 1] - SCORES_GC[0, 1]
    found = tau_by_dimension(moved_GC, TARGET_GC)
    assert found == tau_by_dimension(SCORES_GC, TARGET_GC) and len(found) == 6
    for c, kendall in enumerate(found):
        expected = stats.kendalltau(SCORES_GC[:, c], TARGET_GC[:, c])
        assert kendall == (expected.statistic, expected.pvalue)
