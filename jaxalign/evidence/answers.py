"""What the answers look like, item by item, with and without the tuned prompt."""

import functools
from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from jaxalign.evidence.written import count_outcomes, write_answers
from jaxalign.problem import Problem
from jaxalign.run.option_mass import option_mass


def answer_table(
    problem: Problem, prompts: dict[str, np.ndarray], shares: dict[str, np.ndarray], attention: str
) -> dict[str, Any]:
    """Return shares, entropy, off-scale mass and written answers of each method.

    All of the first of the objective's presentations.

    Args:
      problem: what is asked of which model.
      prompts: soft prompt of each method, [L, D]; L may be 0.
      shares: answers of each method, [I, A].
      attention: implementation, by name.
    """
    way = problem.sets.tune[0]
    items, shown = way.instrument.items, way.shown
    choices = [(shown.labels_of(item), item.options, shown.nonresponse_of(item)) for item in items]
    rows: list[dict[str, Any]] = [
        {
            "id": item.id,
            "text": item.text,
            "options": list(item.options),
            "values": list(item.values),
        }
        for item in items
    ]
    methods: dict[str, dict[str, Any]] = {}
    mass = jax.jit(functools.partial(option_mass, problem.graphdef, attention=attention))
    for method, prompt_LD in prompts.items():
        shares_IA, prompt = shares[method], jnp.asarray(prompt_LD)
        mass_QA = mass(problem.weights, problem.task.layout, prompt).mass_QA
        on_scale_I = np.asarray(mass_QA).sum(-1)[: len(items)]
        entropy_I = scipy.special.entr(shares_IA).sum(-1)
        written = write_answers(
            problem, problem.task.layout, prompt, choices, shares_IA, attention=attention
        )
        for row, item, shares_A, entropy, on_scale, answer in zip(
            rows, items, shares_IA, entropy_I, on_scale_I, written, strict=True
        ):
            own_A = shares_A[: len(item.options)]
            row[method] = {
                "shares": own_A.tolist(),
                "mean": float(own_A @ np.asarray(item.values)),
                "entropy": float(entropy),
                "off_scale": max(0.0, 1.0 - float(on_scale)),
                "written": answer.text,
                "kind": answer.reading.kind,
                "agrees": answer.outcome == "agree" if answer.reading.option is not None else None,
            }
        likeliest = Counter(np.argmax(shares_IA, axis=-1).tolist())
        methods[method] = {
            "entropy": float(entropy_I.mean()),
            "collapsed": max(likeliest.values()) / len(items),
            "off_scale": float(np.mean([row[method]["off_scale"] for row in rows])),
            **count_outcomes(written),
        }
    return {"items": rows, "methods": methods}
