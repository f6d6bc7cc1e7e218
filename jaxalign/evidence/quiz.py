"""CulturalBench put to the model with and without the tuned prompt."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxalign.evidence.asking import Asker
from jaxalign.evidence.culturalbench import OVERALL, QuizRow, easy_rows, hard_rows
from jaxalign.prompts import Asked, ask_quiz, hard_text
from jaxalign.survey import HARD_LABELS, HardRow, Quiz, QuizQuestion


def ask_culturalbench(
    asker: Asker,
    easy: Quiz[QuizQuestion] | None,
    hard: Quiz[HardRow] | None,
    prompt_LD: np.ndarray,
    country: str,
    seed: int,
) -> dict[str, Any]:
    """Return scores on both forms, overall and by country, as in evaluation.json.

    Args:
      asker: of the model.
      easy: the questions, or None.
      hard: the rows, or None.
      prompt_LD: the tuned prompt.
      country: name of the country that it was tuned for.
      seed: of the resamples.
    """
    source = easy or hard
    assert source is not None
    result: dict[str, Any] = {
        "source": source.source,
        "fixture": source.fixture,
        "easy": None,
        "hard": None,
    }
    if easy is not None:
        answers = _both(asker, ask_quiz(easy.questions), prompt_LD)
        rows = easy_rows(easy.questions, answers, "naive", country, seed)
        result["easy"] = {"rows": _as_json(rows)}
    if hard is not None:
        asked = [
            Asked(hard_text(row), HARD_LABELS, f"CulturalBench-Hard row {row.id}")
            for row in hard.questions
        ]
        p_true = {name: each[:, 0] for name, each in _both(asker, asked, prompt_LD).items()}
        rows = hard_rows(hard.questions, p_true, "naive", country, seed)
        result["hard"] = {"rows": _as_json(rows)}
    return result


def _both(asker: Asker, asked: Sequence[Asked], prompt_LD: np.ndarray) -> dict[str, np.ndarray]:
    return {"naive": asker.ask(asked)[0], "tuned": asker.ask(asked, prompt_LD[None])[0]}


def _as_json(rows: Sequence[QuizRow]) -> list[dict[str, Any]]:
    return [
        {
            "scope": "overall" if row.country == OVERALL else row.country,
            "method": row.method,
            "n": row.questions,
            "skipped": row.skipped,
            "accuracy": row.accuracy,
            "low": row.low,
            "high": row.high,
            "wilson_low": row.wilson_low,
            "wilson_high": row.wilson_high,
            "chance": row.chance,
            "mcnemar": None
            if row.p is None
            else {"b": row.gained, "c": row.lost, "p": row.p, "p_holm": row.p_holm},
        }
        for row in rows
    ]
