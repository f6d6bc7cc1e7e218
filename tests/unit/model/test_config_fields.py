"""No field of the config is ignored: each one changes the output, a shape, or what is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from parity_cases import BASE, FAMILY_CASES, LLAMA3, YARN
from small_models import CONFIG, numpy_model
from tiers import every, first

import jaxalign.model as jm
from jaxalign.errors import UserError
from jaxalign.model.architecture import FAMILIES, GEMMA3, LLAMA
from jaxalign.model.hf_config import fields_of, known_fields
from jaxalign.model.hf_layers import LAYER_FIELDS
from jaxalign.model.hf_rope import ROPE_FIELDS

LINEAR = jm.RopeConfig("linear", factor=2.0)
LLAMA3_ROPE = jm.RopeConfig("llama3", factor=8.0, original_max_positions=64)
YARN_ROPE = jm.RopeConfig("yarn", factor=4.0, original_max_positions=64)
SMOOTH_YARN = dataclasses.replace(YARN_ROPE, truncate=False)

GEMMA = dataclasses.replace(
    CONFIG,
    family=GEMMA3,
    window=64,
    sliding_layers=(True, False, True),
    local_rope=jm.RopeConfig(theta=100.0),
)

CHANGES = {
    "vocab_size": 41,
    "width": 18,
    "layers": 2,
    "heads": 2,
    "kv_heads": 4,
    "head_dim": 10,
    "mlp_width": 25,
    "norm_eps": 1e-3,
    "activation": "gelu",
    "attention_bias": True,
    "mlp_bias": True,
    "tied": True,
    "max_positions": 64,
    "rope": LINEAR,
    "query_pre_attn_scalar": 3.0,
}
# Of models with layers that slide.
GEMMA_CHANGES = {
    "family": LLAMA,
    "window": 32,
    "sliding_layers": (False, True, True),
    "local_rope": jm.RopeConfig(theta=1000.0),
}
# From which rotary settings, and to what value; each field is used by the type it starts from.
ROPE_CHANGES = {
    "type": (LINEAR, "default"),
    "theta": (jm.RopeConfig(), 500.0),
    "factor": (LINEAR, 3.0),
    "original_max_positions": (LLAMA3_ROPE, 32),
    "low_freq_factor": (LLAMA3_ROPE, 2.0),
    "high_freq_factor": (LLAMA3_ROPE, 16.0),
    "beta_fast": (SMOOTH_YARN, 4.0),
    "beta_slow": (SMOOTH_YARN, 0.2),
    "attention_factor": (YARN_ROPE, 1.5),
    "truncate": (YARN_ROPE, False),
}


def _logits(config: jm.DecoderConfig) -> np.ndarray:
    graphdef, params = numpy_model(config)

    @jax.jit
    def forward(params):
        model = nnx.merge(graphdef, params)
        states = model.embed(jnp.arange(20))
        mask = jnp.tril(jnp.ones((20, 20), bool))
        hidden = model(states, 5 * jnp.arange(20), mask, jnp.array([19]))
        return model.option_logits(hidden, jnp.arange(6)[None])

    return np.asarray(forward(params))


def _shapes(config: jm.DecoderConfig) -> list[tuple[int, ...]]:
    return [leaf.shape for leaf in jax.tree.leaves(jm.abstract_model(config, "float32")[1])]


def _longest_accepted(config: jm.DecoderConfig) -> bool:
    try:
        config.check_positions(100)
    except UserError:
        return False
    return True


def test_all_fields_are_listed():
    fields = {field.name for field in dataclasses.fields(jm.DecoderConfig)}
    assert set(CHANGES | GEMMA_CHANGES) == fields
    assert set(ROPE_CHANGES) == {field.name for field in dataclasses.fields(jm.RopeConfig)}


def _assert_matters(config: jm.DecoderConfig, **change):
    changed = dataclasses.replace(config, **change)
    if _shapes(changed) != _shapes(config):
        return
    if _longest_accepted(changed) != _longest_accepted(config):
        return
    assert np.abs(_logits(changed) - _logits(config)).max() > 1e-4


@pytest.mark.parametrize("field", first(4, CHANGES))
def test_field_matters(field):
    _assert_matters(CONFIG, **{field: CHANGES[field]})


@pytest.mark.parametrize("field", every(GEMMA_CHANGES, "sliding_layers", "local_rope", "window"))
def test_field_of_sliding_layers_matters(field):
    _assert_matters(dataclasses.replace(GEMMA, window=128), **{field: GEMMA_CHANGES[field]})


SWITCHES = [field.name for field in dataclasses.fields(LLAMA) if field.type is bool]


@pytest.mark.parametrize("switch", every(SWITCHES, "unit_offset", "scaled_embedding"))
def test_switch_of_a_family_matters(switch):
    biased = dataclasses.replace(CONFIG, attention_bias=True)
    family = dataclasses.replace(LLAMA, **{switch: not getattr(LLAMA, switch)})
    _assert_matters(biased, family=family)


@pytest.mark.parametrize("field", first(3, ROPE_CHANGES))
def test_rope_field_matters(field):
    base, value = ROPE_CHANGES[field]
    config = dataclasses.replace(CONFIG, rope=base)
    changed = dataclasses.replace(config, rope=dataclasses.replace(base, **{field: value}))
    assert np.abs(_logits(changed) - _logits(config)).max() > 1e-4


RAW_CHANGES = {
    "vocab_size": 50,
    "hidden_size": 64,
    "intermediate_size": 41,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 1,
    "head_dim": 2,
    "rms_norm_eps": 1e-5,
    "hidden_act": "relu",
    "hidden_activation": "relu",
    "attention_bias": True,
    "mlp_bias": True,
    "tie_word_embeddings": True,
    "max_position_embeddings": 256,
    "query_pre_attn_scalar": 7,
    "rope_theta": 500000.0,
    "rope_scaling": {"type": "linear", "factor": 2.0},
    "rope_parameters": {"rope_type": "default", "rope_theta": 20000.0},
    "rope_local_base_freq": 300.0,
    "use_sliding_window": True,
    "sliding_window": 16,
    "sliding_window_pattern": 2,
    "max_window_layers": 1,
    "layer_types": ["full_attention", "sliding_attention", "full_attention"],
}
# What the fields of qwen's window, which is off by default, need to have an effect.
QWEN_WINDOW = {"use_sliding_window": True, "max_window_layers": 0}


def _raw(family: str, field: str) -> tuple[dict, dict]:
    """Two config.json contents that differ in one field."""
    base, value = BASE | {"model_type": family}, RAW_CHANGES[field]
    if family.startswith("qwen") and field in LAYER_FIELDS[family]:
        base |= {name: each for name, each in QWEN_WINDOW.items() if name != field}
    if family == "gemma3_text":
        base["tie_word_embeddings"] = False
        if field == "rope_parameters":
            value = {"full_attention": value}
    return base, base | {field: value}


@pytest.mark.parametrize("family", FAMILIES)
def test_file_fields_reach_the_config(family):
    read = {*fields_of(FAMILIES[family]), *LAYER_FIELDS[family], *ROPE_FIELDS}
    assert read <= RAW_CHANGES.keys()
    for field in read:
        before, after = _raw(family, field)
        assert jm.parse_config(after, "x") != jm.parse_config(before, "x"), field


@pytest.mark.parametrize("family", FAMILIES)
def test_no_field_of_transformers_is_unknown(family):
    transformers = pytest.importorskip("transformers")
    known = known_fields(FAMILIES[family])
    theirs = transformers.AutoConfig.for_model(family, **_sizes(family))
    assert {field.name for field in dataclasses.fields(theirs)} <= known
    assert set(theirs.to_dict()) <= known


def _sizes(family: str) -> dict:
    """The sizes of transformers' own default, which we want to be told."""
    transformers = pytest.importorskip("transformers")
    default = transformers.AutoConfig.for_model(family)
    names = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
    return {name: getattr(default, name) for name in (*names, "intermediate_size")}


@pytest.mark.parametrize(
    "scaling", [{"rope_type": "llama3", **LLAMA3}, {"rope_type": "yarn", **YARN}]
)
def test_dialects_agree(scaling):
    new = BASE | {"rope_parameters": scaling | {"rope_theta": 5e5}}
    old = BASE | {"rope_theta": 5e5, "rope_scaling": scaling}
    assert jm.parse_config(new, "new") == jm.parse_config(old, "old")
    config = jm.parse_config(new, "new")
    assert jm.parse_config(jm.to_hf(config), "again") == config


@pytest.mark.parametrize("family", FAMILIES)
def test_defaults_are_those_of_transformers(family):
    transformers = pytest.importorskip("transformers")
    config = jm.parse_config({"model_type": family} | _sizes(family), "config.json")
    if family == "llama":
        assert config == jm.DecoderConfig()
    theirs = transformers.AutoConfig.for_model(family).to_dict()
    assert jm.parse_config(theirs, "config.json") == config
    ours = jm.to_hf(config)
    again = transformers.AutoConfig.for_model(**jm.to_hf(config)).to_dict()
    assert {name: again[name] for name in ours} == ours | {"architectures": again["architectures"]}
    assert jm.parse_config(again, "config.json") == config


@pytest.mark.parametrize("name", FAMILY_CASES)
def test_what_is_written_is_read_back(name):
    config = jm.parse_config(BASE | FAMILY_CASES[name], "config.json")
    assert jm.parse_config(jm.to_hf(config), "again") == config


def test_identity_of_a_llama_stays():
    """Workdirs from before there were other families hold a digest of this text."""
    assert jm.DecoderConfig().identity() == (
        "LlamaConfig(vocab_size=32000, width=4096, layers=32, heads=32, kv_heads=32, head_dim=128, "
        "mlp_width=11008, norm_eps=1e-06, activation='silu', attention_bias=False, mlp_bias=False, "
        "tied=False, max_positions=2048, rope=RopeConfig(type='default', theta=10000.0, "
        "factor=1.0, original_max_positions=0, low_freq_factor=1.0, high_freq_factor=4.0, "
        "beta_fast=32.0, beta_slow=1.0, attention_factor=1.0, truncate=True))"
    )
    other = jm.parse_config(BASE | {"model_type": "mistral", "sliding_window": None}, "x")
    assert other.identity() != dataclasses.replace(other, family=LLAMA).identity()
