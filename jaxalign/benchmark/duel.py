"""Ours and the peer's seconds for the same population, taken in turns."""

import hashlib
import math
import statistics
import time
from typing import Any

import numpy as np

from jaxalign.benchmark.clock import timed
from jaxalign.benchmark.parts import Parts
from jaxalign.benchmark.peer import Known, Peer, numpy_losses
from jaxalign.errors import UserError
from jaxalign.problem import Problem
from jaxalign.settings import Settings

TOLERANCE = 1e-4  # between float32 losses
_REST = 0.1  # seconds between the sides: threads of the one before still spin for some time
_TRIALS = 2  # timed runs of a batch size, of which the faster counts
_WORSE = 2  # batch sizes in a row that do not help before larger ones are left out


def duel(
    peer: Peer, settings: Settings, problem: Problem, parts: Parts, repeats: int
) -> dict[str, Any]:
    """Score one population on both sides, check that they agree, and compare the times.

    Ours is `evaluate` alone, the peer's whole forward with numpy's losses. The sides take turns,
    and each round the other begins. A population that the peer has been timed on before is
    not timed again; the spread is then that of all pairs, and `alternated` says so.

    Args:
      peer: with the problem's weights.
      settings: of the setting.
      problem: of the setting.
      parts: of the setting.
      repeats: rounds, after one of each side that warms up.

    Returns:
      Plain values: `ratio`, of candidates per second and above 1 where ours is faster, is the
      median over the rounds, `ratio_least` and `ratio_most` their range; `losses` holds the largest
      difference relative to the peer's loss, or to one point where that is below one (null if it is
      not finite), and whether it is within 1e-4 in float32 (null for bfloat16, whose rounding is
      told and not judged).
    """
    prompts_PLD = np.array(parts.prompts_ELD, np.float32)
    candidates = len(prompts_PLD)
    digest = hashlib.sha256(prompts_PLD.tobytes()).hexdigest()
    ours_GP = np.asarray(parts.evaluate().loss_GP)
    known = peer.known.get(digest)
    alternated = known is None
    ours: list[float] = []
    if known is None:
        batch, tried = _fastest_batch(peer, prompts_PLD)

        def score() -> np.ndarray:
            return numpy_losses(settings, problem, peer.logits(prompts_PLD, batch))

        known = Known(batch, tried, [], score())
        peer.known[digest] = known
        for number in range(repeats):
            for mine in (True, False) if number % 2 == 0 else (False, True):
                time.sleep(_REST)
                taken = timed(parts.evaluate if mine else score)[1]
                (ours if mine else known.seconds).append(taken)
        ratios = [b / a for a, b in zip(ours, known.seconds, strict=True)]
    else:
        ours = [timed(parts.evaluate)[1] for _ in range(repeats)]
        ratios = [b / a for a in ours for b in known.seconds]
    seconds, own = statistics.median(known.seconds), statistics.median(ours)
    difference = np.abs(ours_GP - known.loss_GP) / np.maximum(np.abs(known.loss_GP), 1.0)
    largest = float(difference.max())
    judged = settings.model.dtype == "float32"
    return {
        "name": peer.name,
        "device": peer.device,
        "threads": peer.threads if peer.device == "cpu" else None,
        "batch": known.batch,
        "tried": {str(batch): rate for batch, rate in known.tried.items()},
        "seconds": seconds,
        "candidates_per_second": candidates / seconds,
        "ours_seconds": own,
        "ours_candidates_per_second": candidates / own,
        "ratio": statistics.median(ratios),
        "ratio_least": min(ratios),
        "ratio_most": max(ratios),
        "alternated": alternated,
        "losses": {
            "largest_difference": largest if math.isfinite(largest) else None,
            "allowed": TOLERANCE if judged else None,
            "equal": largest <= TOLERANCE if judged else None,
        },
    }


def _fastest_batch(peer: Peer, prompts_PLD: np.ndarray) -> tuple[int, dict[int, float]]:
    """Candidates in a batch, doubled while that fits and helps; and each one's candidates/s."""
    tried: dict[int, float] = {}
    batch = 1
    while batch <= len(prompts_PLD) and peer.fits(prompts_PLD, batch):
        some = prompts_PLD[:batch]
        time.sleep(_REST)
        taken = min(timed(peer.logits, some, batch)[1] for _ in range(_TRIALS))
        tried[batch] = batch / taken
        best = max(tried, key=lambda size: tried[size])
        if len([size for size in tried if size > best]) >= _WORSE:
            break
        batch *= 2
    if not tried:
        raise UserError(
            f"--peer={peer.name}: the memory that is left does not hold one candidate's questions; "
            "give a smaller --model, or leave --peer out"
        )
    return max(tried, key=lambda size: tried[size]), tried
