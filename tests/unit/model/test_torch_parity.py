"""Our forward equals transformers' torch models, layer by layer, through real checkpoint files."""

import numpy as np
import parity_cases as parity
import pytest
from tiers import every

import jaxalign.model as jm

torch = pytest.importorskip("torch")


TOLERANCE = 1e-5


def _assert_equal(ours, theirs):
    for layer, (our_state, their_state) in enumerate(
        zip(ours["states"], theirs["states"], strict=True)
    ):
        assert parity.relative_error(our_state, their_state) <= TOLERANCE, f"layer {layer}"
    assert parity.relative_error(ours["hidden"], theirs["hidden"]) <= TOLERANCE
    assert parity.relative_error(ours["logits"], theirs["logits"]) <= TOLERANCE


@pytest.mark.parametrize(
    "name",
    every(
        parity.CASES,
        *("gqa", "tied", "biased", "v5_llama3", "random_0"),
        *("mistral", "qwen2_yarn", "qwen3_biased", "gemma3_old", "gemma3_new"),
    ),
)
def test_every_layer_and_the_logits(name, tmp_path, run_ours):
    raw = parity.BASE | parity.CASES[name]
    model = parity.torch_model(raw)
    folder = parity.save_torch(model, raw, tmp_path)
    graphdef, params, config = jm.load_model(folder, "float32")
    sequence = parity.inputs(config.vocab_size)
    _assert_equal(run_ours(graphdef, params, *sequence), parity.torch_outputs(model, *sequence))


def test_sharded_checkpoint(tmp_path, run_ours):
    raw = parity.BASE | parity.CASES["biased"]
    model = parity.torch_model(raw)
    folder = parity.save_torch(model, raw, tmp_path, shard="20KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    graphdef, params, config = jm.load_model(folder, "float32")
    sequence = parity.inputs(config.vocab_size)
    _assert_equal(run_ours(graphdef, params, *sequence), parity.torch_outputs(model, *sequence))


@pytest.mark.parametrize("name", every(["v5_theta", "v5_llama3", "v5_yarn"], "v5_llama3"))
def test_far_positions(name, tmp_path, run_ours):
    raw = parity.BASE | parity.CASES[name] | {"max_position_embeddings": 8192}
    model = parity.torch_model(raw)
    graphdef, params, config = jm.load_model(parity.save_torch(model, raw, tmp_path), "float32")
    tokens, positions, mask = parity.inputs(config.vocab_size)
    sequence = (tokens, 37 * positions + 5, mask)
    _assert_equal(run_ours(graphdef, params, *sequence), parity.torch_outputs(model, *sequence))


def test_tree_mask(tmp_path, run_ours):
    """Two branches of lengths 3 and 4 after a stem of 5, as one sequence."""
    raw = parity.BASE | parity.CASES["gqa"]
    model = parity.torch_model(raw)
    graphdef, params, config = jm.load_model(parity.save_torch(model, raw, tmp_path), "float32")
    tokens, _, mask = parity.inputs(config.vocab_size, length=12)
    positions = np.array([0, 1, 2, 3, 4, 5, 6, 7, 5, 6, 7, 8])
    mask[8:, 5:8] = False
    sequence = (tokens, positions, mask)
    ours = run_ours(graphdef, params, *sequence)
    _assert_equal(ours, parity.torch_outputs(model, *sequence))
    branch = [0, 1, 2, 3, 4, 8, 9, 10, 11]
    alone = parity.torch_outputs(model, tokens[branch], *parity.inputs(1, len(branch))[1:])
    assert parity.relative_error(ours["logits"][branch], alone["logits"]) <= TOLERANCE


def test_transformers_reads_what_we_save(tmp_path):
    import transformers

    for name in ("v4_llama3", "v5_yarn_full", "tied", "biased", *parity.FAMILY_CASES):
        raw = parity.BASE | parity.CASES[name]
        model = parity.torch_model(raw)
        _, params, config = jm.load_model(parity.save_torch(model, raw, tmp_path / name), "float32")
        jm.save_model(tmp_path / f"{name}_again", params, config)
        again = transformers.AutoModelForCausalLM.from_pretrained(
            tmp_path / f"{name}_again", attn_implementation="eager"
        )
        sequence = parity.inputs(config.vocab_size)
        theirs = parity.torch_outputs(model, *sequence)
        same = parity.torch_outputs(again.eval(), *sequence)
        np.testing.assert_array_equal(same["logits"], theirs["logits"])


@pytest.mark.parametrize("name", every(["gqa", "qwen3", "gemma3"], "gqa"))
def test_bfloat16_is_close(name, tmp_path, run_ours):
    raw = parity.BASE | parity.CASES[name]
    model = parity.torch_model(raw)
    graphdef, params, config = jm.load_model(parity.save_torch(model, raw, tmp_path), "bfloat16")
    sequence = parity.inputs(config.vocab_size)
    ours = run_ours(graphdef, params, *sequence)
    theirs = parity.torch_outputs(model, *sequence)
    assert ours["hidden"].dtype.name == "bfloat16" and ours["logits"].dtype == np.float32
    assert parity.relative_error(ours["logits"], theirs["logits"]) <= 0.05
