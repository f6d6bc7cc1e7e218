"""The verdict says no more than its numbers do."""

import pytest
from fake_evaluation import make_evaluation

from jaxalign.evidence.verdict import verdict


def judged(seen, test, others, interval):
    evaluation = make_evaluation()
    summary = evaluation["robustness"]["summary"]
    summary["tuned"] |= {"seen": seen, "held_out": test}
    for method, loss in others.items():
        summary[method] |= {"held_out": loss, "difference": {"mean": 0, "interval": interval}}
    return verdict(evaluation)[1]


@pytest.mark.parametrize(
    ("seen", "test", "interval", "words"),
    [
        (3.0, 5.0, [-60, -20], "of unseen levels it holds;"),
        (3.0, 20.0, [-50, -5], "it keeps a lead in part;"),
        (3.0, 20.0, [-50, 5], "it has no clear lead over persona;"),
        (3.0, 70.0, [-5, 20], "it does not hold, persona does better;"),
    ],
)
def test_whether_a_prompt_holds(seen, test, interval, words):
    assert words in judged(seen, test, {"naive": 90.0, "persona": 60.0}, interval)


def test_levels_that_change_one_at_a_time_are_counted():
    evaluation = make_evaluation()
    alone = [row for row in evaluation["robustness"]["rows"] if row["part"] == "alone"]
    for row in alone:
        row["methods"]["tuned"]["loss"] = row["methods"]["naive"]["loss"]
    alone[0]["methods"]["tuned"]["loss"] -= 1.0
    said = f"With one of these levels at a time it is below naive in 1 of {len(alone)}."
    assert verdict(evaluation)[1].endswith(said)
    evaluation["robustness"]["rows"] = []
    assert "at a time" not in verdict(evaluation)[1]
