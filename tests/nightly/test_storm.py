"""Kills at random moments leave no trace in what a run ends with."""

import pytest
from storm import storm


@pytest.mark.nightly
@pytest.mark.parametrize("processes", [1, 2])
def test_twenty_kills_change_nothing(processes, tmp_path):
    figures = storm(tmp_path / "storm", kills=20, generations=40, processes=processes)
    assert len(figures["hit while"]) >= 3
