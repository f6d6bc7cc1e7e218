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
