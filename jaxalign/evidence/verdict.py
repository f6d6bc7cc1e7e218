"""The verdict of an evaluation in a few sentences, each computed from its numbers."""

from typing import Any

from jaxalign.evidence.baselines import TUNED


def verdict(evaluation: dict[str, Any]) -> list[str]:
    """Return what is to be said of baselines, of unseen presentations and of CulturalBench.

    Args:
      evaluation: with methods, robustness and culturalbench, as evaluation.json has them.
    """
    return [_baselines(evaluation), _robustness(evaluation), _culturalbench(evaluation)]


def _baselines(evaluation: dict[str, Any]) -> str:
    rows = evaluation["methods"]
    tuned = next(row for row in rows if row["name"] == TUNED)
    others = [row for row in rows if row["name"] != TUNED]
    best = min(others, key=lambda row: row["loss"])
    count, loss = len(others), _number(tuned["loss"])
    if tuned["loss"] >= best["loss"]:
        better = [row for row in others if row["loss"] <= tuned["loss"]]
        return (
            f"The tuned prompt's loss of {loss} does not beat every baseline: {len(better)} of "
            f"{count} are as low, the best of them {best['name']} with {_number(best['loss'])}."
        )
    sentence = (
        f"The tuned prompt's loss of {loss} is below that of all {count} baselines, of which "
        f"{best['name']} comes closest with {_number(best['loss'])}"
    )
    compared = [row for row in others if row.get("difference")]
    unclear = [row for row in compared if row["difference"]["interval"][1] >= 0]
    if not unclear:
        return f"{sentence}; asked of the same 50 simulated respondents it stays below each."
    names = "; ".join(row["name"] for row in unclear)
    return (
        f"{sentence}; over 50 simulated respondents the 95% interval of the difference is not "
        f"wholly below 0 for {len(unclear)} of them: {names}."
    )


def _robustness(evaluation: dict[str, Any]) -> str:
    summary = evaluation["robustness"]["summary"]
    tuned, others = summary["tuned"], {key: summary[key] for key in summary if key != "tuned"}
    count = len(evaluation["formats"]["held_out"])
    least = min(others, key=lambda name: others[name]["held_out"])
    told = ", ".join(f"{name} {_number(each['held_out'])}" for name, each in others.items())
    low, high = map(_number, tuned["interval"])
    numbers = (
        f"its mean loss is {_number(tuned['held_out'])} (95% interval {low} to {high}), "
        f"{_number(tuned['seen'])} where it was tuned, and at worst {_number(tuned['worst'])} "
        f"({tuned['worst_name']}); {told}"
    )
    if tuned["held_out"] >= others[least]["held_out"]:
        holds = f"does not hold, {least} does better"
    elif others[least]["difference"]["interval"][1] >= 0:
        holds = f"has no clear lead over {least}"
    else:
        holds = "keeps a lead in part" if tuned["held_out"] > 2 * tuned["seen"] + 1 else "holds"
    held = f"In {count} presentations of unseen levels it {holds}; {numbers}."
    alone = [row["methods"] for row in evaluation["robustness"]["rows"] if row["part"] == "alone"]
    if not alone:
        return held
    below = sum(losses[TUNED]["loss"] < losses["naive"]["loss"] for losses in alone)
    return (
        f"{held} With one of these levels at a time it is below naive in {below} of {len(alone)}."
    )


def _culturalbench(evaluation: dict[str, Any]) -> str:
    bench = evaluation.get("culturalbench")
    if not bench:
        return "CulturalBench was not asked: nothing is known about knowledge of cultures."
    what = "our own fixture of CulturalBench's format" if bench["fixture"] else "CulturalBench"
    told = []
    for form in ("easy", "hard"):
        rows = (bench.get(form) or {}).get("rows", [])
        overall = {row["method"]: row for row in rows if row["scope"] == "overall"}
        if TUNED in overall:
            naive, tuned = overall["naive"], overall[TUNED]
            told.append(
                f"{form.capitalize()} accuracy {naive['accuracy']:.0%} became "
                f"{tuned['accuracy']:.0%} (n = {tuned['n']}, chance {tuned['chance']:.0%}, McNemar "
                f"p = {tuned['mcnemar']['p']:.2g})"
            )
    return f"On {what}, {' and '.join(told)}."


def _number(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.2g}"
