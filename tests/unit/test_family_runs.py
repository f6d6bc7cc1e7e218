"""A problem on a model of another family: its questions and prompts are what transformers reads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from random_models import TINY, save_random
from tiers import every

from jaxalign.config import base, freeze
from jaxalign.fitness.readout import answer_logits
from jaxalign.problem import load_problem

SHAPES = {
    "mistral": {"model_type": "mistral"},
    "qwen2": {"model_type": "qwen2"},
    "qwen3": {"model_type": "qwen3", "head_dim": 16},
    "gemma3_text": {"model_type": "gemma3_text", "head_dim": 16, "sliding_window_pattern": 2},
}


@pytest.mark.parametrize("family", every(SHAPES, "gemma3_text"))
def test_a_text_as_soft_prompt_is_the_text(family, tmp_path):
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM

    save_random(tmp_path, TINY | SHAPES[family])
    config = base("embedded")
    config.country = "SA"
    config.model.path = str(tmp_path)
    config.objective.formats = "identity"
    problem = load_problem(freeze(config))
    text = np.arange(40, 47)
    prompt_LD = jnp.asarray(problem.table_VD[text], jnp.float32)

    @jax.jit
    def ours(weights, task, prompt_LD):
        return answer_logits(nnx.merge(problem.graphdef, weights), task.layout, prompt_LD)

    logits_QA = np.asarray(ours(problem.weights, problem.task, prompt_LD))
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    trie = problem.questions.trie
    with torch.no_grad():
        for question, node in enumerate(trie.answer_nodes_Q):
            path = []
            while node >= 0:
                path.append(trie.tokens_T[node])
                node = trie.parents_T[node]
            sequence = torch.tensor(np.concatenate([text, path[::-1]]))[None]
            answers = problem.questions.answer_ids_QA[question]
            expected = theirs(sequence).logits[0, -1, torch.tensor(answers)].numpy()
            offered = np.isfinite(logits_QA[question])
            np.testing.assert_allclose(
                logits_QA[question][offered], expected[offered], rtol=1e-4, atol=1e-4
            )
    table = theirs.get_input_embeddings()(torch.arange(problem.model_config.vocab_size))
    norm = torch.linalg.norm(table, dim=-1).mean().item()
    assert float(problem.task.goal.row_norm) == pytest.approx(norm, rel=1e-5)
