"""An evaluation that never was: every part of evaluation.json, with numbers that tell apart."""

from typing import Any

import numpy as np
from fake_run import NOTICE

DIMENSIONS = {
    "PDI": "Power distance",
    "IDV": "Individualism",
    "MAS": "Masculinity",
    "UAI": "Uncertainty avoidance",
    "LTO": "Long-term orientation",
    "IVR": "Indulgence",
}
TARGET = dict(zip(DIMENSIONS, (95.0, 25.0, 60.0, 80.0, 36.0, 52.0), strict=True))
SEEN = ["identity", "reversed"]
CHOSEN_BY = ["cyclic1/words@formal+exact+greeting"]
HELD_OUT = [
    f"cyclic{shift}/letters@{wording}+{system}+weather"
    for shift in (2, 4) for wording in ("plain", "second") for system in ("survey", "brief")
]  # fmt: skip
ALONE = ["cyclic2", "identity/letters", "identity@plain"]
PARTS = {"tune": SEEN, "choose": CHOSEN_BY, "test": HELD_OUT, "alone": ALONE}
METHODS = {  # group, loss, note
    "tuned": ("tuned", 1.4, None),
    "naive": ("reference", 97.0, None),
    "constant answer": ("reference", 126.0, None),
    "persona (median)": ("text", 61.7, "12 wordings"),
    "persona (best)": ("text", 48.2, "12 wordings"),
    "in-context, 4 answers": ("text", 72.6, "5 choices of items"),
    "in-context, 16 answers, country named": ("text", 55.5, "5 choices of items"),
    "random prompt": ("control", 117.3, "8 draws"),
    "prompt of China": ("control", 138.9, None),
    "prompt of shuffled targets": ("control", 121.1, None),
}
COUNTRIES = {"SA": "Saudi Arabia", "CN": "China", "IN": "India", "US": "United States"}

HOSTILE = "<script>alert('&amp;')</script> $\\frac{ \"quoted\"\n\x00"


def make_evaluation(country: str = "SA") -> dict[str, Any]:
    """The content of evaluation.json, the same for equal arguments."""
    rng = np.random.default_rng(len(country) + ord(country[0]))

    def number(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    def scores() -> dict[str, float]:
        return {key: number(-20, 120) for key in DIMENSIONS}

    def interval(middle: float) -> list[float]:
        return [middle * number(0.7, 0.95), middle * number(1.05, 1.4)]

    methods = [
        {
            "name": name, "group": group, "scores": scores(), "loss": loss,
            "interval": None if name == "constant answer" else interval(loss),
            "spread": interval(1.5 * loss) if note else None, "note": note,
            "difference": None if name == "tuned"
            else {"mean": 1.4 - loss, "interval": [0.8 * (1.4 - loss), 0.4 - loss]},
        }
        for name, (group, loss, note) in METHODS.items()
    ]  # fmt: skip
    levels = {"naive": 97.0, "persona": 61.0, "tuned": 9.0}
    rows = [
        {
            "name": name, "part": part,
            "levels": {"order": name.split("/")[0], "system": "brief" if "brief" in name else ""},
            "methods": {
                key: {"loss": level * number(0.5, 1.5), "scores": scores()}
                for key, level in levels.items()
            },
        }
        for part, names in PARTS.items()
        for name in names
    ]  # fmt: skip
    return {
        "schema": 2, "country": country, "country_name": COUNTRIES[country], "model": "embedded",
        "notice": NOTICE, "command": "python -m jaxalign.evaluate --workdir=runs/sa --note='<b>&'",
        "date": "2026-11-21", "hardware": "2 CPU cores", "versions": {"jax": "0.10.2"},
        "git_revision": "0123456789ab",
        "survey": {
            "name": "vsm13", "title": "Values Survey Module 2013, own wording", "validated": False,
            "items": 24, "constant": [50.0] * 6, "norm": "l1", "targets": "hofstede2010",
            "target_source": "Hofstede, Hofstede and Minkov 2010 (2010)",
        },
        "dimensions": dict(DIMENSIONS), "target": dict(TARGET),
        "formats": {"seen": [*SEEN], "held_out": [*HELD_OUT]},
        "verdict": [
            "The tuned prompt has a loss of 1.4; the best other method, persona (best), has 48.2.",
            "In the 8 presentations of unseen levels its mean loss is 9.3, at worst 13.1.",
            "On CulturalBench-Easy it has 11 of 20 questions right, naive 12 (p = 1.000).",
        ],
        "methods": methods,
        "personas": [
            {"text": f"You are an average citizen of the country, wording {index}.",
             "loss": number(40, 90), "held_out": index >= 8}
            for index in range(12)
        ],
        "robustness": {
            "rows": rows,
            "dimensions": [
                {"dimension": key, "between_countries": number(12, 30),
                 **{name: {"mean": number(0, 100), "spread": number(2, 40)} for name in levels}}
                for key in DIMENSIONS
            ],
            "summary": {
                name: {"seen": level, "held_out": 1.7 * level, "worst": 2.9 * level,
                       "worst_name": HELD_OUT[0], "interval": [1.2 * level, 2.3 * level],
                       "difference": {"mean": 9.0 - level, "interval": [5.0 - level, 12 - level]},
                       "explained": {"order": number(0, 1), "system": None}}
                for name, level in levels.items()
            },
        },
        "answers": _answers(rng),
        "side_effects": {
            "requests": [
                {"kind": "everyday", "text": "Write a note.", "first": "Dear",
                 "methods": {name: {"divergence": 0.2, "first": "Hi"} for name in levels}},
            ],
            "methods": {
                name: {"everyday": 0.2, "factual": 0.1, "same_first": 0.5} for name in levels
            },
        },
        "respondents": [
            {"method": method, "n": n, "loss": level + 300 / n**0.5,
             "low": level + 200 / n**0.5, "high": level + 450 / n**0.5,
             "dimensions": {
                 key: {"mean": number(0, 100), "sampling_sd": number(80, 90) / n**0.5,
                       "formula_sd": 85.5 / n**0.5}
                 for key in DIMENSIONS
             }}
            for method, level in (("naive", 97.0), ("tuned", 1.4)) for n in (1, 5, 20, 50)
        ],
        "countries": {
            "reference": "US", "codes": list(COUNTRIES), "names": dict(COUNTRIES),
            "differences": [
                {"country": code, "dimension": key, "target": number(-60, 60),
                 "tuned": number(-60, 60)}
                for code in ("SA", "CN", "IN") for key in DIMENSIONS
            ],
            "tau": [{"dimension": key, "tau": number(-1, 1), "p": number(0, 1), "n": 4}
                    for key in DIMENSIONS],
            "matrix": [
                [number(1, 9) if row == column else number(60, 190) for column in range(4)]
                for row in range(4)
            ],
            "naive": [97.0, 131.5, 64.8, 121.2],
        },
        "culturalbench": {
            "source": "fixture", "fixture": True,
            "easy": {"rows": _culturalbench(rng, 20, 0.25)},
            "hard": {"rows": _culturalbench(rng, 20, 0.0625)},
        },
        "trie": {"formats": 2, "tokens": 966, "padded": 3500, "saving": 3.62},
        "seconds": {"baselines": 12.5, "robustness": 61.25},
    }  # fmt: skip


def _answers(rng: np.random.Generator) -> dict[str, Any]:
    def answer(sharpness: float) -> dict[str, Any]:
        shares = rng.dirichlet(np.full(5, sharpness))
        kind = str(rng.choice(["option", "option", "option", "refusal", "unparsed"]))
        return {
            "shares": shares.tolist(), "mean": float(shares @ np.arange(1, 6)),
            "entropy": float(-(shares * np.log(shares + 1e-30)).sum()),
            "off_scale": float(rng.uniform(0, 0.3)), "written": "3 = moderately important",
            "kind": kind, "agrees": bool(rng.integers(2)) if kind == "option" else None,
        }  # fmt: skip

    items = [
        {"id": f"m{index:02}", "text": f"hours that leave room for family and home, {index}",
         "options": ["essential", "important", "moderate", "slight", "none"],
         "values": [1, 2, 3, 4, 5], "naive": answer(2.0), "tuned": answer(0.2)}
        for index in range(1, 25)
    ]  # fmt: skip
    methods = {
        "naive": {"entropy": 1.234, "collapsed": 0.292, "off_scale": 0.0713, "agree": 14,
                  "disagree": 3, "refusal": 5, "unparsed": 2},
        "tuned": {"entropy": 0.456, "collapsed": 0.417, "off_scale": 0.0821, "agree": 11,
                  "disagree": 7, "refusal": 4, "unparsed": 2},
    }  # fmt: skip
    return {"items": items, "methods": methods}


def _culturalbench(rng: np.random.Generator, questions: int, chance: float) -> list[dict[str, Any]]:
    rows = []
    for scope, count in (("overall", questions), ("Saudi Arabia", 5), ("China", 6)):
        for method in ("naive", "tuned"):
            share = float(rng.uniform(0.2, 0.8))
            test = {"b": 3, "c": 4, "p": float(rng.uniform(0.0, 1)), "p_holm": 0.987}
            rows.append(
                {"scope": scope, "method": method, "n": count, "skipped": 1, "accuracy": share,
                 "low": share - 0.19, "high": share + 0.17, "chance": chance,
                 "mcnemar": test if method == "tuned" else None}
            )  # fmt: skip
    return rows
