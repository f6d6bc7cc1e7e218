"""Records of a run that never ran."""

from typing import Any

NOTICE = "synthetic model without scientific meaning"
GENERATIONS, POPULATION = 40, 8


def make_record(generation: int) -> dict[str, Any]:
    best = 100 * 0.9**generation
    return {
        "generation": generation,
        "evaluations": POPULATION * (generation + 1),
        "best_loss": best,
        "generation_best": best + 1,
        "generation_mean": None if generation == 3 else best * 1.5,
        "accepted": None if generation == 0 else 2,
        "failed": POPULATION if generation == 3 else 0,
        "prompt_norm": 1.5,
        "seconds": 0.25,
        "tokens_per_second": 5e4,
    }
