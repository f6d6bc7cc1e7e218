"""The adapter that is exported, in PEFT itself; and the adapter that PEFT saves, read again."""

import json
import re

import jax
import numpy as np
import pytest
import safetensors
from flax import nnx

from jaxalign.config import base, freeze
from jaxalign.interchange import export, read_soft_prompt
from jaxalign.problem import load_problem
from jaxalign.prompts import encode, question_text, render_chat
from jaxalign.readout import answer_logits

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings(
    "ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"
)
# Both compute in float32, where a logit of about 10 has steps of 1e-6, and sum in another order
# over some 70 positions and 4 layers; 5e-5 has room for that, and the prompt moves logits by 0.1.
CLOSE = 5e-5


@pytest.fixture(scope="module")
def embedded():
    config = base("embedded")
    config.country = "SA"
    return load_problem(freeze(config))


def our_logits(problem, prompt_LD):
    @jax.jit
    def forward(weights, task, prompt_LD):
        return answer_logits(nnx.merge(problem.graphdef, weights), task.layout, prompt_LD)

    return np.asarray(forward(problem.weights, problem.task, prompt_LD))


def ids_of(problem, item):
    text = render_chat(problem.tokenizer, question_text(problem.instrument, item))
    return torch.tensor([encode(problem.tokenizer, text)])


def test_the_card_s_lines_load_a_model_with_our_logits(
    embedded, alone, change, put_prompt, tmp_path
):
    width = embedded.model_config.width
    prompt_LD = np.random.default_rng(0).normal(0, 0.3, (4, width)).astype(np.float32)
    change(alone / "config.json", "embedded", "config", "model", "path")
    put_prompt(alone, prompt_LD)
    export(alone, "peft", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    (lines,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert lines.count("path/to/this/folder") == 1
    names: dict = {}
    exec(lines.replace("path/to/this/folder", str(tmp_path / "out")), names)
    theirs = names["model"].float().eval()

    ours_QA = our_logits(embedded, prompt_LD)
    naive_QA = our_logits(embedded, prompt_LD[:0])
    rows = range(0, len(embedded.instrument.items), 5)
    for row in rows:
        ids = ids_of(embedded, embedded.instrument.items[row])
        with torch.no_grad():
            logits = theirs(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -1]
        answers = torch.tensor(embedded.questions.answer_ids_QA[row])
        np.testing.assert_allclose(ours_QA[row], logits[answers], rtol=0, atol=CLOSE)
    assert np.abs(ours_QA - naive_QA)[rows].max() > 100 * CLOSE


def test_the_adapter_is_what_peft_would_save(alone, tmp_path):
    export(alone, "peft", tmp_path / "ours")
    config = json.loads((tmp_path / "ours" / "adapter_config.json").read_text())
    model = transformers.AutoModelForCausalLM.from_pretrained(config["base_model_name_or_path"])
    peft.PeftModel.from_pretrained(model, str(tmp_path / "ours")).save_pretrained(
        str(tmp_path / "theirs")
    )
    saved = json.loads((tmp_path / "theirs" / "adapter_config.json").read_text())
    version = {"peft_version", "modules_to_save"}  # fields that older versions lack
    assert {key: value for key, value in saved.items() if key not in version} == config
    for folder in (alone, tmp_path / "ours", tmp_path / "theirs"):
        np.testing.assert_array_equal(read_soft_prompt(folder), read_soft_prompt(alone))
    files = [tmp_path / side / "adapter_model.safetensors" for side in ("ours", "theirs")]
    for file in files:
        with safetensors.safe_open(file, "np") as tensors:
            assert tensors.metadata()["format"] == "pt"
            assert list(tensors.keys()) == ["prompt_embeddings"]
            assert tensors.get_slice("prompt_embeddings").get_dtype() == "F32"


def test_an_adapter_that_peft_made_is_read(tiny_folder, tmp_path):
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_folder)
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5)
    tuned = peft.get_peft_model(model, config)
    tuned.save_pretrained(str(tmp_path))
    ids = torch.arange(5)
    expected = tuned.prompt_encoder["default"](ids).detach().numpy()
    np.testing.assert_array_equal(read_soft_prompt(tmp_path, width=32), expected)
