"""What the parity of layers and logits leaves open: windows, input embeddings, 8 bits."""

import re

import jax.numpy as jnp
import numpy as np
import parity_cases as parity
import pytest
from tiers import every

import jaxalign.model as jm
from jaxalign.errors import UserError
from jaxalign.model.abstract import named_leaves, with_leaves
from jaxalign.model.architecture import FAMILIES
from jaxalign.model.quantization import Quantized
from jaxalign.model.weights import fill_model

torch = pytest.importorskip("torch")

SMALL = {"num_hidden_layers": 2, "head_dim": 8}


def _raw(family: str, **fields) -> dict:
    return parity.BASE | SMALL | {"model_type": family} | fields


def _pair(raw: dict, folder, dtype: str = "float32"):
    """transformers' model, and ours from its files."""
    model = parity.torch_model(raw)
    return model, jm.load_model(parity.save_torch(model, raw, folder), dtype)


WINDOWS = {
    "mistral": {"sliding_window": 9},
    "qwen3": {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1},
    "gemma3_text": {"sliding_window": 9},
}


@pytest.mark.parametrize("family", every(WINDOWS, "mistral", "gemma3_text"))
def test_a_window_changes_nothing_up_to_its_length_and_more_is_refused(family, tmp_path, run_ours):
    model, (graphdef, params, config) = _pair(_raw(family, **WINDOWS[family]), tmp_path)
    tokens, positions, mask = parity.inputs(config.vocab_size, length=10)
    ours = run_ours(graphdef, params, tokens, positions, mask)["logits"]
    with torch.no_grad():  # transformers masks by itself here
        theirs = model(torch.tensor(tokens)[None], use_cache=False).logits[0].numpy()
    assert parity.relative_error(ours[:9], theirs[:9]) <= 1e-5
    assert parity.relative_error(ours[9], theirs[9]) > 1e-3
    config.check_positions(9)
    with pytest.raises(UserError, match=r"needs 10 positions.*sliding_window=9"):
        config.check_positions(10)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", every(FAMILIES, "qwen2", "gemma3_text"))
def test_input_embeddings_are_those_of_transformers(family, dtype, tmp_path):
    model, (_, params, config) = _pair(_raw(family), tmp_path / "float32", dtype)
    model = model.to(getattr(torch, dtype))
    model.save_pretrained(tmp_path / dtype)
    tokens = np.array([7, 0, 60, 7])
    theirs = model.get_input_embeddings()(torch.tensor(tokens)).detach().float().numpy()
    rows = params["embedding"][...][tokens]
    np.testing.assert_array_equal(np.float32(jm.input_embeddings(rows, config)), theirs)
    np.testing.assert_array_equal(jm.read_embeddings(tmp_path / dtype, tokens), theirs)


@pytest.mark.parametrize("name", every(parity.FAMILY_CASES, "qwen3_biased", "gemma3_new"))
def test_8_bit_weights_are_transformers_with_rounded_ones(name, tmp_path, run_ours):
    """The dequantised matrices, put into transformers' model, give the same logits."""
    raw = parity.BASE | parity.FAMILY_CASES[name]
    original, (graphdef, params, config) = _pair(raw, tmp_path / "model")
    small = jm.quantize(params, "int8_weights", keep=True)
    weights = {leaf: weight.get_value() for leaf, weight in small["block"].items()}
    rounded = {
        leaf: weight.values.astype(jnp.float32) * weight.scales[..., None]
        for leaf, weight in weights.items()
        if isinstance(weight, Quantized)
    }
    assert len(rounded) == 7
    leaves = {
        leaf: rounded.get(leaf.removeprefix("block."), value)
        for leaf, value in named_leaves(params).items()
    }
    jm.save_model(tmp_path / "rounded", with_leaves(params, leaves), config)
    model = type(original).from_pretrained(tmp_path / "rounded", attn_implementation="eager").eval()
    sequence = parity.inputs(config.vocab_size)
    ours = run_ours(graphdef, small, *sequence)
    theirs = parity.torch_outputs(model, *sequence)
    assert parity.relative_error(ours["logits"], theirs["logits"]) <= 1e-5
    full = parity.torch_outputs(original, *sequence)
    assert parity.relative_error(full["logits"], theirs["logits"]) > 1e-3


class Held:
    """A NumPy array as safetensors gives one of a file."""

    def __init__(self, array: np.ndarray):
        self.array = array

    def get_shape(self) -> list[int]:
        return list(self.array.shape)

    def get_dtype(self) -> str:
        return {"float32": "F32"}[self.array.dtype.name]

    def __getitem__(self, place) -> np.ndarray:
        return self.array[place]


def test_tensors_need_no_files(tmp_path):
    model, (_, params, config) = _pair(_raw("gemma3_text"), tmp_path)
    tensors = {name: Held(array.numpy()) for name, array in model.state_dict().items()}
    _, filled = fill_model("here", tensors, config, "float32")
    expected = named_leaves(params)
    for name, leaf in named_leaves(filled).items():
        np.testing.assert_array_equal(leaf, expected[name], err_msg=name)
    del tensors["model.layers.1.post_feedforward_layernorm.weight"]
    tensors["model.norm.bias"] = Held(np.ones(3, np.float32))
    with pytest.raises(UserError, match=re.escape("here: model.layers.1.post_feed")) as caught:
        fill_model("here", tensors, config, "float32")
    assert "model.norm.bias is unexpected" in str(caught.value)
