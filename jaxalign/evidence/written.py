"""Whether the answer that a model writes is the one that its option tokens give.

The search reads the probabilities of option tokens. Here the model writes on, greedily, and the
text is read by the rules of `jaxalign.survey.written`.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxalign.fitness.readout import lay_out
from jaxalign.model import AUTO, Written, generate, read_stop_ids
from jaxalign.objective import Layout
from jaxalign.problem import Problem
from jaxalign.prompts import end_ids
from jaxalign.survey import OPTION, REFUSAL, UNPARSED, Reading, read_written

AGREE, DISAGREE = "agree", "disagree"
LIMIT = 16  # tokens: a label and the longest option's words, or the beginning of a refusal


@dataclass(frozen=True)
class WrittenAnswer:
    """An answer in two forms.

    Attributes:
      text: what the model wrote, up to a stop token or the limit.
      reading: what that means.
      likeliest: index of the option whose token is likeliest.
    """

    text: str
    reading: Reading
    likeliest: int

    @property
    def outcome(self) -> str:
        """`agree` or `disagree` if the text names an option, else `refusal` or `unparsed`."""
        if self.reading.kind != OPTION:
            return self.reading.kind
        return AGREE if self.reading.option == self.likeliest else DISAGREE


def write_answers(
    problem: Problem,
    layout: Layout,
    prompt_LD: jax.Array,
    choices: Sequence[tuple[Sequence[str], Sequence[str], Sequence[tuple[str, str]]]],
    probabilities_QA: np.ndarray,
    *,
    limit: int = LIMIT,
    attention: str = AUTO,
) -> tuple[WrittenAnswer, ...]:
    """Let the model write its answers to the first questions of a task, and compare.

    Args:
      problem: the model and its tokenizer.
      layout: what is asked; the problem's own, or the same in another format.
      prompt_LD: soft prompt; L may be 0.
      choices: labels, options and nonresponse of each of the questions to be answered, the task's
        first, in the order of the task's option tokens.
      probabilities_QA: of the options, as `readout.read_answers` gives them.
      limit: tokens to write at most; fewer if the model has no positions for them.
      attention: implementation, by name.

    Returns:
      An answer for each entry of `choices`.

    Raises:
      UserError: the model has no positions for the questions, or its files name stop tokens that
        are none.
    """
    stops = sorted(read_stop_ids(problem.folder) | end_ids(problem.tokenizer))
    longest = prompt_LD.shape[0] + int(np.max(layout.positions_T)) + 1
    problem.model_config.check_positions(longest)
    written = _write(
        problem.graphdef,
        problem.weights,
        layout,
        prompt_LD,
        jnp.array(stops, jnp.int32),
        questions=len(choices),
        # The last token written needs no position: nothing is asked of it.
        limit=min(limit, problem.model_config.longest - longest + 1),
        attention=attention,
    )
    rows = zip(*jax.device_get(written), choices, probabilities_QA, strict=False)
    answers = []
    for tokens_N, length, (labels, options, nonresponse), probabilities_A in rows:
        text = problem.tokenizer.decode(tokens_N[:length], skip_special_tokens=True)
        reading = read_written(text, labels, options, nonresponse)
        likeliest = int(np.argmax(probabilities_A[: len(labels)]))
        answers.append(WrittenAnswer(text, reading, likeliest))
    return tuple(answers)


def count_outcomes(answers: Sequence[WrittenAnswer]) -> dict[str, int]:
    """Return how many answers `agree`, `disagree`, are a `refusal`, or `unparsed`."""
    outcomes = [answer.outcome for answer in answers]
    return {name: outcomes.count(name) for name in (AGREE, DISAGREE, REFUSAL, UNPARSED)}


@functools.partial(jax.jit, static_argnames=("questions", "limit", "attention"))
def _write(
    graphdef: Any,
    weights: Any,
    layout: Layout,
    prompt_LD: jax.Array,
    stops_E: jax.Array,
    *,
    questions: int,
    limit: int,
    attention: str,
) -> Written:
    model = nnx.merge(graphdef, weights)
    positions_S, mask_SS, ends_Q = lay_out(layout, prompt_LD.shape[0])
    embedded_TD = model.embed(layout.tokens_T)
    embeddings_SD = jnp.concatenate([prompt_LD.astype(embedded_TD.dtype), embedded_TD])
    return generate(
        model,
        embeddings_SD,
        positions_S,
        mask_SS,
        ends_Q[:questions],
        stops_E=stops_E,
        limit=limit,
        attention=attention,
        tree=layout.tree,
    )
