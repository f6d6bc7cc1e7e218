"""Any number of questions of any kind, put to a model with any soft prompts."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxalign.errors import UserError
from jaxalign.fitness.readout import answer_logits
from jaxalign.model import AUTO
from jaxalign.objective import Goal, Layout, Objective, make_layouts, measure_answers
from jaxalign.problem import Problem
from jaxalign.prompts import Asked, Path, encode_asked, lay_out_paths
from jaxalign.report import Steps

_TOKENS = 2048  # of one trie, unless a single question is longer
_ROUND = 128  # tokens and path lengths are filled up to multiples, to compile once
_AT_A_TIME = 2  # soft prompts


class Asker:
    """Puts questions to a problem's model, in tries of about 2,048 tokens.

    Args:
      problem: whose model, tokenizer and survey are used.
      attention: implementation, by name.
    """

    def __init__(self, problem: Problem, attention: str = AUTO):
        self._problem = problem
        self._shares = jax.jit(functools.partial(_shares, problem.graphdef, attention))

    def ask(self, asked: Sequence[Asked], prompts_MLD: np.ndarray | None = None) -> np.ndarray:
        """Probability of each option, float32 [M, N, A]; 0 where a question has fewer options.

        What questions that begin alike share is computed once for those of one trie.

        Args:
          asked: N questions.
          prompts_MLD: M soft prompts; left out, the model alone is asked, and M is 1.

        Raises:
          UserError: a question cannot be asked of this tokenizer, or is too long for this model.
        """
        problem = self._problem
        if prompts_MLD is None:
            prompts_MLD = np.zeros((1, 0, problem.model_config.width), np.float32)
        sequences, answer_ids_NA, offered_NA, paths = encode_asked(problem.tokenizer, asked)
        longest = prompts_MLD.shape[1] + max(map(len, sequences))
        problem.model_config.check_positions(longest)
        groups = list(_groups(sequences))
        options = offered_NA.shape[1]
        laid = [
            lay_out_paths([sequences[row] for row in rows], _paths_of(paths, rows), options)
            for rows in groups
        ]
        most = max(map(len, groups))
        # Some are asked twice, so that all tries have one shape.
        fills = [np.resize(rows, most) for rows in groups]
        tries, all_longer = zip(*laid, strict=True)
        layouts = make_layouts(
            [trie.with_answers(np.resize(trie.answer_nodes_Q, most)) for trie in tries],
            [(answer_ids_NA[fill], offered_NA[fill]) for fill in fills],
            all_longer,
            _ROUND,
        )
        shares_MNA = np.zeros((len(prompts_MLD), *answer_ids_NA.shape), np.float32)
        with Steps("  tries asked", len(groups)) as steps:
            for done, (rows, layout) in enumerate(zip(groups, layouts, strict=True)):
                steps.update(done)
                answered = self._shares(problem.weights, layout, jnp.asarray(prompts_MLD))
                shares_MNA[:, rows] = np.asarray(answered)[:, : len(rows)]
        return shares_MNA

    def fault(self, asked: Sequence[Asked]) -> str | None:
        """Return why these questions cannot be asked of this model, or None."""
        try:
            longest = max(map(len, encode_asked(self._problem.tokenizer, asked)[0]))
            self._problem.model_config.check_positions(longest)
        except UserError as error:
            return str(error)
        return None

    def measure(
        self, shares_MNA: np.ndarray, norm: str, target_GC: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return scores [M, C] and survey losses [G, M] of answers to the survey's items.

        Args:
          shares_MNA: N is a multiple of the items: one format after another. Scores and losses are
            means over them.
          norm: `l1` or `l2`.
          target_GC: of G countries; the problem's own if left out.
        """
        goal = self._problem.task.goal
        target_GC = np.asarray(goal.target_GC if target_GC is None else target_GC, np.float32)
        goal = dataclasses.replace(
            goal,
            target_GC=target_GC,
            right_B=np.zeros(0, np.int32),
            asked_GB=np.zeros((len(target_GC), 0), np.float32),
            naive_QA=np.zeros(shares_MNA.shape[1:], np.float32),
        )
        measured = _measure(Objective(norm=norm), goal, jnp.asarray(shares_MNA))
        return np.asarray(measured[0]), np.asarray(measured[1])


@functools.partial(jax.jit, static_argnums=0)
def _measure(objective: Objective, goal: Goal, shares_MNA: jax.Array) -> tuple[Any, Any]:
    no_rows = jnp.zeros((shares_MNA.shape[0], 0, 1))
    measured = measure_answers(objective, goal, no_rows, shares_MNA)
    return measured.scores_PC, measured.loss_GP


def _shares(
    graphdef: Any, attention: str, weights: Any, layout: Layout, prompts_MLD: jax.Array
) -> jax.Array:
    model = nnx.merge(graphdef, weights)

    def answer(prompt_LD: jax.Array) -> jax.Array:
        return jax.nn.softmax(answer_logits(model, layout, prompt_LD, attention), axis=-1)

    return jax.lax.map(answer, prompts_MLD, batch_size=min(_AT_A_TIME, len(prompts_MLD)))


def _paths_of(paths: Sequence[Path], rows: Sequence[int]) -> list[Path]:
    """Return the paths of some questions, which are numbered by their place among these."""
    place = {row: index for index, row in enumerate(rows)}
    return [p._replace(question=place[p.question]) for p in paths if p.question in place]


def _groups(sequences: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield the rows of sequences that go into one trie, those that begin alike side by side."""
    rows: list[int] = []
    seen: dict[Any, Any] = {}
    size = 0
    for row in sorted(range(len(sequences)), key=lambda row: list(sequences[row])):
        sequence = sequences[row]
        new = _insert(seen, sequence)
        if rows and size + new > _TOKENS:
            yield rows
            rows, seen, size = [], {}, 0
            new = _insert(seen, sequence)
        rows.append(row)
        size += new
    yield rows


def _insert(seen: dict[Any, Any], sequence: Sequence[int]) -> int:
    """Add a sequence to nested dictionaries; return the number of new nodes."""
    new = 0
    for token in sequence:
        new += token not in seen
        seen = seen.setdefault(token, {})
    return new
