"""Whatever is wrong with a model folder is said in one line that names it."""

import json

import numpy as np
import pytest
import safetensors.numpy
from parity_cases import BASE, LLAMA3, YARN
from small_models import CONFIG, numpy_model

import jaxalign.model as jm
from jaxalign.errors import UserError


@pytest.fixture
def folder(tmp_path):
    _, params = numpy_model(CONFIG)
    jm.save_model(tmp_path, params, CONFIG)
    return tmp_path


def _edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _edit_weights(folder, edit):
    path = folder / "model.safetensors"
    tensors = safetensors.numpy.load_file(path)
    edit(tensors)
    path.unlink()
    safetensors.numpy.save_file(tensors, path)


def _refusal(call, *arguments) -> str:
    with pytest.raises(UserError) as caught:
        call(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


def _load(folder):
    return jm.load_model(folder, "float32")


BAD_FIELDS = {
    "other type": ({"model_type": "gemma2"}, ["model_type", "gemma2", "llama", "qwen3"]),
    "no type": ({"model_type": None}, ["model_type"]),
    "layers of their own": ({"per_layer_config": {"0": {"head_dim": 4}}}, ["per_layer_config"]),
    "not causal": ({"is_causal": False}, ["is_causal=false"]),
    "partial": ({"partial_rotary_factor": 0.5}, ["partial_rotary_factor=0.5"]),
    **{
        f"quantised by {method}": (
            {"quantization_config": {"quant_method": method, "bits": 4}},
            ["quantization_config", method, "unquantised", "model.quantization=int8"],
        )
        for method in ("gptq", "awq", "bitsandbytes")
    },
    "quantised": ({"quantization_config": {"load_in_4bit": True}}, ["model.quantization=int8"]),
    "mistral window": (
        {"model_type": "mistral", "sliding_window": "far"},
        ["sliding_window is 'far'"],
    ),
    "qwen flag": (
        {"model_type": "qwen2", "use_sliding_window": 1},
        ["use_sliding_window is 1"],
    ),
    "qwen without window": (
        {"model_type": "qwen3", "layer_types": ["sliding_attention"] * 3},
        ["layer_types has sliding_attention"],
    ),
    "few layer types": (
        {"model_type": "gemma3_text", "layer_types": ["full_attention"]},
        ["layer_types", "3 layers"],
    ),
    "unknown layer type": (
        {"model_type": "gemma3_text", "layer_types": ["chunked_attention"] * 3},
        ["layer_types", "full_attention"],
    ),
    "pattern": (
        {"model_type": "gemma3_text", "sliding_window_pattern": 0},
        ["sliding_window_pattern is 0"],
    ),
    "attention soft cap": (
        {"model_type": "gemma3_text", "attn_logit_softcapping": 50.0},
        ["attn_logit_softcapping=50.0"],
    ),
    "logit soft cap": (
        {"model_type": "gemma3_text", "final_logit_softcapping": 30.0},
        ["final_logit_softcapping=30.0"],
    ),
    "both directions": (
        {"model_type": "gemma3_text", "use_bidirectional_attention": True},
        ["use_bidirectional_attention=true"],
    ),
    "one rope for gemma": (
        {"model_type": "gemma3_text", "rope_parameters": {"rope_type": "default"}},
        ["rope_parameters", "full_attention and sliding_attention"],
    ),
    "local rope": (
        {"model_type": "gemma3_text", "rope_local_base_freq": -1.0},
        ["sliding layers", "rope_theta is -1.0"],
    ),
    "activation": ({"hidden_act": "relu2"}, ["hidden_act", "relu2", "silu"]),
    "size": ({"hidden_size": "32"}, ["hidden_size", "'32'"]),
    "zero": ({"num_hidden_layers": 0}, ["num_hidden_layers is 0"]),
    "boolean": ({"vocab_size": True}, ["vocab_size is True"]),
    "null": ({"vocab_size": None}, ["vocab_size is None"]),
    "epsilon": ({"rms_norm_eps": -1e-6}, ["rms_norm_eps"]),
    "flag": ({"tie_word_embeddings": "no"}, ["tie_word_embeddings"]),
    "heads": ({"num_key_value_heads": 3}, ["num_key_value_heads=3"]),
    "width": ({"num_attention_heads": 6}, ["hidden_size=32", "num_attention_heads=6"]),
    "odd head": ({"head_dim": 7}, ["head_dim is 7"]),
    "rope type": ({"rope_scaling": {"type": "longrope"}}, ["longrope", "llama3"]),
    "rope kind": ({"rope_scaling": 3}, ["rope_scaling"]),
    "rope key": ({"rope_scaling": {"type": "linear", "factor": 2, "beta": 1}}, ["beta"]),
    "rope factor": ({"rope_scaling": {"type": "linear"}}, ["factor is missing"]),
    "rope zero": ({"rope_scaling": {"type": "linear", "factor": 0}}, ["factor is 0"]),
    "rope theta": ({"rope_theta": "big"}, ["rope_theta is 'big'"]),
    "rope unused": ({"rope_parameters": {"factor": 2.0}}, ["factor is not implemented"]),
    "rope partial": ({"rope_parameters": {"partial_rotary_factor": 0.5}}, ["partial_rotary"]),
    "rope twice": (
        {
            "rope_parameters": {"rope_type": "yarn", **YARN},
            "rope_scaling": {"rope_type": "llama3", **LLAMA3},
        },
        ["rope_parameters and rope_scaling"],
    ),
    "theta twice": (
        {"rope_theta": 1e4, "rope_parameters": {"rope_theta": 5e5}},
        ["rope_theta=10000.0 differs"],
    ),
    "type twice": ({"rope_scaling": {"type": "linear", "rope_type": "yarn"} | YARN}, ["type="]),
    "two faults": ({"hidden_act": "relu2", "is_causal": False}, ["hidden_act", "is_causal"]),
}


@pytest.mark.parametrize("fault", BAD_FIELDS)
def test_config_fault(fault):
    changes, named = BAD_FIELDS[fault]
    message = _refusal(jm.parse_config, BASE | changes, "some/config.json")
    assert message.startswith("some/config.json: ")
    assert all(name in message for name in named), message


def test_inert_fields_are_accepted():
    inert = {
        "architectures": ["LlamaForCausalLM"],
        "bos_token_id": 128000,
        "eos_token_id": [128001, 128009],
        "torch_dtype": "bfloat16",
        "pretraining_tp": 1,
        "quantization_config": None,
        "rope_interleaved": False,
        "rope_scaling": None,
        "temperature": 0.6,
        "use_cache": True,
    }
    assert jm.parse_config(BASE | inert, "x") == jm.parse_config(BASE, "x")


# In the likeness of files that are about, whose further fields transformers does not read either.
IGNORED = {
    "first llama": {"max_sequence_length": 2048},
    "misspelt": {"max_sequence_length": 2048, "badwordsids": [[0]], "use_cache": True},
    "comment": {"source": "https://example.org/config.json"},
    "another model's": {"residual_multiplier": 0.2, "sliding_window": 8},
    "remote code": {"auto_map": {"AutoModelForCausalLM": "m.M"}},
    "its own window": {"model_type": "mistral", "use_sliding_window": True},
    "its own bias": {"model_type": "qwen2", "attention_bias": False},
}


@pytest.mark.parametrize("case", IGNORED)
def test_fields_that_nobody_reads_are_named_once(case, caplog):
    base = BASE | {name: IGNORED[case][name] for name in IGNORED[case] if name == "model_type"}
    config = jm.parse_config(base, "x")
    assert not caplog.messages
    for _ in range(2):
        assert jm.parse_config(BASE | IGNORED[case], f"{case}/config.json") == config
    (message,) = caplog.messages
    assert message.startswith(f"{case}/config.json: ignored ")
    named = message.removeprefix(f"{case}/config.json: ignored ").partition(", which")[0]
    assert set(named.split(", ")) == IGNORED[case].keys() - {"model_type", "use_cache"}


def test_sizes_are_required():
    message = _refusal(jm.parse_config, {"model_type": "llama"}, "x")
    sizes = [name for name in BASE if name not in ("model_type", "num_key_value_heads")]
    assert all(name in message for name in sizes if name != "max_position_embeddings")
    message = _refusal(jm.parse_config, BASE | {"vocab_size": None}, "x")
    assert "vocab_size is None" in message
    assert "hidden_size must be given" in _refusal(
        jm.parse_config, {name: BASE[name] for name in BASE if name != "hidden_size"}, "x"
    )


def test_too_many_positions():
    assert "max_position_embeddings=2048" in _refusal(CONFIG.check_positions, 2049)
    CONFIG.check_positions(2048)


@pytest.mark.parametrize("text", [None, "{", "[1]", "\xff"])
def test_unreadable_config(folder, text):
    path = folder / "config.json"
    path.unlink()
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    assert str(path) in _refusal(_load, folder)


def test_good_folder_loads_and_saves_the_same(folder, tmp_path):
    _, params, config = _load(folder)
    assert config == CONFIG
    jm.save_model(tmp_path / "again", params, config, {"bos_token_id": 7})
    first, second = (path / "model.safetensors" for path in (folder, tmp_path / "again"))
    assert first.read_bytes() == second.read_bytes()
    assert json.loads((tmp_path / "again/config.json").read_text())["bos_token_id"] == 7
    assert jm.weights_digest(folder) == jm.weights_digest(tmp_path / "again")


@pytest.mark.parametrize("stored", ["bfloat16", "float32"])
@pytest.mark.parametrize("wanted", ["bfloat16", "float32"])
def test_conversion_between_types(tmp_path, stored, wanted):
    _, params = numpy_model(CONFIG, stored)
    jm.save_model(tmp_path, params, CONFIG)
    _, loaded, _ = jm.load_model(tmp_path, wanted)
    ours, theirs = (tree["block"]["up"].get_value() for tree in (loaded, params))
    assert ours.dtype == wanted
    np.testing.assert_array_equal(ours, theirs.astype(wanted))


def test_unknown_dtype(folder):
    assert "float16" in _refusal(jm.load_model, folder, "float16")
    assert "model.dtype" in _refusal(jm.load_model, folder, "double trouble")


def test_all_weight_faults_at_once(folder):
    def edit(tensors):
        del tensors["model.layers.1.mlp.up_proj.weight"]
        tensors["model.layers.0.self_attn.q_norm.weight"] = np.ones(8, np.float32)
        tensors["model.norm.weight"] = np.ones(17, np.float32)
        tensors["lm_head.weight"] = tensors["lm_head.weight"].astype(np.int8)

    _edit_weights(folder, edit)
    message = _refusal(_load, folder)
    assert "model.layers.1.mlp.up_proj.weight is missing" in message
    assert "q_norm.weight is unexpected" in message
    assert "model.norm.weight has shape [17], must be [16]" in message
    assert "lm_head.weight has type I8" in message


def test_many_faults_stay_one_line(folder):
    _edit_config(folder, num_hidden_layers=40)
    message = _refusal(_load, folder)
    assert message.count("is missing") == 12 and "more" in message


def test_head_of_an_untied_model_is_required(folder):
    _edit_weights(folder, lambda tensors: tensors.pop("lm_head.weight"))
    assert "lm_head.weight is missing" in _refusal(_load, folder)


def test_stored_head_of_a_tied_model(folder):
    """As transformers: harmless if it equals the embedding, otherwise the config is wrong."""
    _edit_config(folder, tie_word_embeddings=True)
    message = _refusal(_load, folder)
    assert "lm_head.weight differs" in message and "tie_word_embeddings" in message

    def tie(tensors):
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].copy()

    _edit_weights(folder, tie)
    assert "head" not in _load(folder)[1]


def test_old_rotary_buffers_are_skipped(folder):
    def edit(tensors):
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(4, np.float32)
        tensors["model.rotary_emb.inv_freq"] = np.ones(4, np.float32)

    _edit_weights(folder, edit)
    _load(folder)


@pytest.mark.parametrize("kept", [0, 7, 100, -1])
def test_truncated_file(folder, kept):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    message = _refusal(_load, folder)
    assert str(path) in message and "cut short" in message


def test_pointer_instead_of_weights(folder):
    path = folder / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    assert str(path) in _refusal(_load, folder)


def test_pickle_only(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    message = _refusal(_load, folder)
    assert "pytorch_model.bin" in message and "pickle" in message


def _shard(folder, index=None):
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = ["model-1-of-2.safetensors", "model-2-of-2.safetensors"]
    keys = sorted(tensors)
    places = {key: names[place % 2] for place, key in enumerate(keys)}
    for name in names:
        part = {key: tensors[key] for key in keys if places[key] == name}
        safetensors.numpy.save_file(part, folder / name)
    text = json.dumps({"weight_map": places}) if index is None else index
    (folder / "model.safetensors.index.json").write_text(text)
    return names


def test_shards_load(folder):
    whole = _load(folder)[1]
    _shard(folder)
    shards = _load(folder)[1]
    np.testing.assert_array_equal(
        shards["block"]["down"].get_value(), whole["block"]["down"].get_value()
    )


def test_missing_shard(folder):
    names = _shard(folder)
    (folder / names[1]).unlink()
    assert names[1] in _refusal(_load, folder)


def test_truncated_shard(folder):
    path = folder / _shard(folder)[1]
    path.write_bytes(path.read_bytes()[:-3])
    assert str(path) in _refusal(_load, folder)


@pytest.mark.parametrize("index", ["{", "[]", "{}", '{"weight_map": {"a": "../x.safetensors"}}'])
def test_bad_index(folder, index):
    _shard(folder, index)
    assert "model.safetensors.index.json" in _refusal(_load, folder)


def test_tensor_in_two_shards(folder):
    names = _shard(folder)
    tensors = safetensors.numpy.load_file(folder / names[0])
    key = next(iter(safetensors.numpy.load_file(folder / names[1])))
    safetensors.numpy.save_file(tensors | {key: np.ones(2, np.float32)}, folder / names[0])
    assert f"{key} is stored twice" in _refusal(_load, folder)


def test_digest_follows_every_byte(folder):
    before = jm.weights_digest(folder)

    def nudge(tensors):
        norm = tensors["model.norm.weight"]
        tensors["model.norm.weight"] = np.nextafter(norm, np.float32(2))

    _edit_weights(folder, nudge)
    assert jm.weights_digest(folder) != before
