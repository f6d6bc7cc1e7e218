"""The tuned prompt in another tool: PEFT's prompt tuning, unchanged."""

import json

import numpy as np
import pytest
import safetensors.numpy

from jaxalign.fitness import answer_logits
from jaxalign.model import to_safetensors
from jaxalign.prompts import encode, question_text, render_chat

LENGTH = 4


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_a_soft_prompt_works_in_peft(tiny_problem, tmp_path):
    torch = pytest.importorskip("torch")
    peft = pytest.importorskip("peft")
    import jax
    from flax import nnx
    from transformers import AutoModelForCausalLM

    width = tiny_problem.model_config.width
    prompt_LD = np.random.default_rng(0).normal(0, 0.3, (LENGTH, width)).astype(np.float32)
    adapter = {
        "peft_type": "PROMPT_TUNING",
        "task_type": "CAUSAL_LM",
        "num_virtual_tokens": LENGTH,
        "token_dim": width,
        "num_transformer_submodules": 1,
        "num_attention_heads": 2,
        "num_layers": 2,
        "base_model_name_or_path": str(tiny_problem.folder),
        "inference_mode": True,
    }
    (tmp_path / "adapter_config.json").write_text(json.dumps(adapter))
    content = to_safetensors({"prompt_embeddings": prompt_LD}, notice="synthetic")
    (tmp_path / "adapter_model.safetensors").write_bytes(content)
    np.testing.assert_array_equal(safetensors.numpy.load(content)["prompt_embeddings"], prompt_LD)
    base = AutoModelForCausalLM.from_pretrained(tiny_problem.folder, dtype=torch.float32)
    theirs = peft.PeftModel.from_pretrained(base, str(tmp_path)).eval()

    @jax.jit
    def ours(weights, task, prompt_LD):
        return answer_logits(nnx.merge(tiny_problem.graphdef, weights), task, prompt_LD)

    logits_QA = np.asarray(ours(tiny_problem.weights, tiny_problem.task, prompt_LD))
    for index in (0, 14, 19, 23):  # one of each scale
        item = tiny_problem.instrument.items[index]
        text = render_chat(tiny_problem.tokenizer, question_text(tiny_problem.instrument, item))
        ids = torch.tensor([encode(tiny_problem.tokenizer, text)])
        with torch.no_grad():
            full = theirs(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -1]
        answers = torch.tensor(tiny_problem.questions.answer_ids_QA[index])
        np.testing.assert_allclose(logits_QA[index], full[answers], rtol=1e-5, atol=1e-5)
