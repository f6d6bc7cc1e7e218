"""What a soft prompt changes beside the survey: how answers to everyday requests begin."""

import functools
from importlib import resources
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import yaml
from flax import nnx

from jaxalign.fitness.readout import answer_states
from jaxalign.objective import Layout, make_layout
from jaxalign.problem import Problem
from jaxalign.prompts import encode_requests


def read_requests() -> list[tuple[str, str]]:
    """Return kind and text of the packaged requests."""
    packaged = resources.files("jaxalign.evidence") / "data" / "requests.yaml"
    kinds = yaml.safe_load(packaged.read_text(encoding="utf-8"))
    return [(kind, text) for kind, texts in kinds.items() for text in texts]


def measure_side_effects(
    problem: Problem, prompt_LD: np.ndarray, persona: str | None, attention: str
) -> dict[str, Any]:
    """Compare the first token of answers with that of the model alone.

    The divergence is Kullback and Leibler's, of the model alone from the changed one, in nats, over
    the whole vocabulary. A persona in the system message, which is what people do without a soft
    prompt, is beside it for scale.

    Args:
      problem: whose model is asked.
      prompt_LD: the tuned prompt.
      persona: text of a persona, or None.
      attention: implementation, by name.

    Raises:
      UserError: the template has no place for the persona.
    """
    requests = read_requests()
    texts = [text for _, text in requests]
    next_token = jax.jit(functools.partial(_next_token, problem.graphdef, attention))

    def ask(prompt_LD: np.ndarray, system: str | None = None) -> np.ndarray:
        layout = make_layout(encode_requests(problem.tokenizer, texts, system))
        return np.asarray(next_token(problem.weights, layout, jnp.asarray(prompt_LD)))

    log_naive_NV = ask(prompt_LD[:0])
    changed = {"tuned": ask(prompt_LD)}
    if persona:
        changed["persona"] = ask(prompt_LD[:0], persona)
    rows: list[dict[str, Any]] = [
        {"kind": kind, "text": text, "first": problem.tokenizer.decode([first]), "methods": {}}
        for (kind, text), first in zip(requests, log_naive_NV.argmax(1), strict=True)
    ]
    methods = {}
    for method, log_NV in changed.items():
        divergence_N = (np.exp(log_naive_NV) * (log_naive_NV - log_NV)).sum(axis=1)
        first_N = log_NV.argmax(1)
        for row, divergence, first in zip(rows, divergence_N, first_N, strict=True):
            row["methods"][method] = {
                "divergence": float(divergence),
                "first": problem.tokenizer.decode([first]),
            }
        methods[method] = {
            **{
                kind: float(divergence_N[[row["kind"] == kind for row in rows]].mean())
                for kind in dict.fromkeys(kind for kind, _ in requests)
            },
            "same_first": float(np.mean(first_N == log_naive_NV.argmax(1))),
        }
    return {"requests": rows, "methods": methods}


def _next_token(
    graphdef: Any, attention: str, weights: Any, layout: Layout, prompt_LD: jax.Array
) -> jax.Array:
    """Return log-probabilities of the token after each request, float32 [N, V]."""
    model = nnx.merge(graphdef, weights)
    hidden_ND = answer_states(model, layout, prompt_LD, attention)
    logits_NV = jnp.einsum(
        "nd,vd->nv", hidden_ND, model.head_rows(), preferred_element_type=jnp.float32
    )
    return jax.nn.log_softmax(logits_NV, axis=-1)
