"""Soft prompts and populations from files: every form is read, and everything else is refused."""

import json
import re
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from jaxalign.errors import UserError
from jaxalign.interchange import prompt_file, read_population, read_soft_prompt

PROMPT = np.random.default_rng(4).normal(size=(3, 5)).astype(np.float32)
CONFIG = {
    "peft_type": "PROMPT_TUNING",
    "task_type": "CAUSAL_LM",
    "num_virtual_tokens": 3,
    "token_dim": 5,
    "num_transformer_submodules": 1,
}


def save(path: Path, tensors: dict | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.numpy.save_file({"prompt_embeddings": PROMPT} if tensors is None else tensors, path)
    return path


def adapter(folder: Path, config=CONFIG, tensors: dict | None = None) -> Path:
    save(folder / "adapter_model.safetensors", tensors)
    text = config if isinstance(config, str) else json.dumps(config)
    (folder / "adapter_config.json").write_text(text)
    return folder


def refused(path, said: str, **sizes) -> None:
    with pytest.raises(
        UserError, match=rf"^prompt.init='{re.escape(str(path))}': [^\n]*$"
    ) as error:
        read_soft_prompt(path, "prompt.init", **sizes)
    assert re.search(said, str(error.value)), str(error.value)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64, ml_dtypes.bfloat16])
def test_a_prompt_is_read_as_float32(dtype, tmp_path):
    prompt = PROMPT.astype(dtype)
    path = save(tmp_path / "p.safetensors", {"prompt_embeddings": prompt, "other": np.zeros(2)})
    for given in (path, str(path)):
        read = read_soft_prompt(given, length=3, width=5)
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, prompt.astype(np.float32))


def test_every_form_gives_the_same_prompt(tmp_path):
    np.save(tmp_path / "p.npy", np.asfortranarray(PROMPT))
    (tmp_path / "exported").mkdir()
    np.save(tmp_path / "exported" / "soft_prompt.npy", PROMPT)
    null = dict.fromkeys(CONFIG) | {"peft_type": "PROMPT_TUNING"}
    forms = {
        save(tmp_path / "p.safetensors"): "p.safetensors",
        tmp_path / "p.npy": "p.npy",
        tmp_path / "exported": "soft_prompt.npy",
        save(tmp_path / "run" / "soft_prompt.safetensors").parent: "soft_prompt.safetensors",
        adapter(tmp_path / "adapter"): "adapter_model.safetensors",
        adapter(tmp_path / "null", null): "adapter_model.safetensors",
        tmp_path / "adapter" / "adapter_model.safetensors": "adapter_model.safetensors",
    }
    for path, name in forms.items():
        assert prompt_file(path).name == name
        np.testing.assert_array_equal(read_soft_prompt(path), PROMPT, err_msg=str(path))
        refused(path, "is 5 wide and the model 6", width=6)
        refused(path, "has 3 rows and prompt.length is 4; set prompt.length=3", length=4)


@pytest.mark.parametrize(
    "tensors,said",
    [
        ({"other": np.zeros((3, 5))}, "must hold a tensor 'prompt_embeddings', and holds other"),
        ({}, "and holds nothing"),
        ({"prompt_embeddings": np.zeros((0, 5))}, r"not float64 of shape \[0, 5\]"),
        ({"prompt_embeddings": np.zeros((1, 3, 5))}, r"not float64 of shape \[1, 3, 5\]"),
        ({"prompt_embeddings": np.zeros((3, 5), np.int32)}, "real numbers .* not int32"),
        ({"prompt_embeddings": np.full((3, 5), np.nan)}, "not finite"),
        ({"prompt_embeddings": np.full((3, 5), 1e300)}, "not finite in float32"),
    ],
)
def test_a_tensor_that_is_no_prompt_is_one_line(tensors, said, tmp_path):
    refused(save(tmp_path / "prompt.safetensors", tensors), said)
    refused(adapter(tmp_path / "adapter", tensors=tensors), said)


def test_an_unreadable_prompt_is_one_line(tmp_path):
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"\x00" * 7)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(safetensors.numpy.save({"prompt_embeddings": PROMPT})[:-9])
    np.save(tmp_path / "whole.npy", PROMPT)
    short = tmp_path / "short.npy"
    short.write_bytes((tmp_path / "whole.npy").read_bytes()[:-9])
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], object), allow_pickle=True)
    for path in (tmp_path / "missing.safetensors", damaged, cut, Path("~nobody-here/x")):
        refused(path, r"cannot read it \(.+\); give a \.safetensors or \.npy file")
    for name in ("short", "objects", "missing"):
        refused(tmp_path / f"{name}.npy", r"cannot read it \(")
    np.save(tmp_path / "words.npy", np.array([["a"]]))
    refused(tmp_path / "words.npy", "must be real numbers")


@pytest.mark.parametrize("name", ["adapter_model.bin", "prompt.pt", "prompt.pkl"])
def test_a_pickle_is_never_opened(name, tmp_path):
    refused(tmp_path / name, "is a pickle, which may run code and is never opened")


@pytest.mark.parametrize(
    "config,said",
    [
        ("{", "cannot read adapter_config.json"),
        ("[]", "is not a JSON object"),
        ({}, "peft_type=None, and must have 'PROMPT_TUNING'"),
        (CONFIG | {"peft_type": "LORA"}, "peft_type='LORA', and must have 'PROMPT_TUNING'"),
        (CONFIG | {"peft_type": "PREFIX_TUNING"}, "peft_type='PREFIX_TUNING'"),
        (CONFIG | {"peft_type": ["PROMPT_TUNING"]}, "peft_type="),
        (CONFIG | {"task_type": "SEQ_2_SEQ_LM"}, "task_type='SEQ_2_SEQ_LM'"),
        (CONFIG | {"num_transformer_submodules": 2}, "num_transformer_submodules=2"),
        (CONFIG | {"num_virtual_tokens": 4}, r"says \[4, 5\] .* holds \[3, 5\]"),
        (CONFIG | {"token_dim": "5"}, r"says \[3, '5'\] .* holds \[3, 5\]"),
    ],
)
def test_another_kind_of_adapter_is_one_line(config, said, tmp_path):
    refused(adapter(tmp_path / "adapter", config), said)


def test_what_kind_an_adapter_is_comes_before_what_it_holds(tmp_path):
    tensors = {"base_model.layers.0.lora_A.weight": PROMPT}
    refused(adapter(tmp_path / "a", CONFIG | {"peft_type": "LORA"}, tensors), "peft_type='LORA'")


def test_a_folder_without_a_prompt_says_what_is_there(tmp_path):
    refused(tmp_path, "the folder holds no soft prompt; give")
    folder = adapter(tmp_path / "adapter")
    (folder / "adapter_model.safetensors").unlink()
    refused(folder, r"adapter_model\.safetensors is missing; save")
    (folder / "adapter_model.bin").write_bytes(b"")
    refused(folder, r"adapter_model\.bin is a pickle, .* safe_serialization=True")
    for code in ("US", "CN"):
        save(tmp_path / "run" / "countries" / code / "soft_prompt.safetensors")
    refused(tmp_path / "run", r"several countries \(CN, US\); give .*countries/CN$")


def test_messages_name_the_path_alone_where_no_key_gave_it(tmp_path):
    with pytest.raises(UserError, match=f"^{re.escape(str(tmp_path))}: the folder"):
        read_soft_prompt(tmp_path)


def test_a_population_is_read_in_the_order_of_names(tmp_path):
    rng = np.random.default_rng(5)
    china, india = rng.normal(size=(4, 3, 5)), rng.normal(size=(2, 3, 5)).astype(np.float16)
    path = save(tmp_path / "population.safetensors", {"IN": india, "CN": china})
    read = read_population(path, "prompt.init", 3, 5)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, np.concatenate([china, india]).astype(np.float32))


@pytest.mark.parametrize(
    "tensors,said",
    [
        ({}, "it holds no prompts"),
        ({"CN": np.zeros((0, 3, 5))}, "it holds no prompts"),
        ({"CN": np.zeros((3, 5))}, r"CN must be real numbers of shape \[P, L, D\], not float64"),
        ({"CN": np.zeros((2, 3, 5)), "IN": np.zeros((2, 4, 5))}, "IN has 4 rows .* is 3; set"),
        ({"CN": np.full((2, 3, 5), np.inf)}, "CN holds values that are not finite"),
    ],
)
def test_a_population_that_does_not_fit_is_one_line(tensors, said, tmp_path):
    path = save(tmp_path / "population.safetensors", tensors)
    with pytest.raises(
        UserError, match=rf"^prompt.init='{re.escape(str(path))}': [^\n]*$"
    ) as error:
        read_population(path, "prompt.init", 3, 5)
    assert re.search(said, str(error.value))
