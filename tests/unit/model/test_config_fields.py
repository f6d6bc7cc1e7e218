"""No field of the config is ignored: each one changes the output, a shape, or what is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from parity_cases import BASE, LLAMA3, YARN
from small_models import CONFIG, numpy_model
from tiers import first

import jaxalign.model as jm
from jaxalign.errors import UserError
from jaxalign.model.hf_config import FIELDS

LINEAR = jm.RopeConfig("linear", factor=2.0)
LLAMA3_ROPE = jm.RopeConfig("llama3", factor=8.0, original_max_positions=64)
YARN_ROPE = jm.RopeConfig("yarn", factor=4.0, original_max_positions=64)
SMOOTH_YARN = dataclasses.replace(YARN_ROPE, truncate=False)

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


def _logits(config: jm.LlamaConfig) -> np.ndarray:
    graphdef, params = numpy_model(config)

    @jax.jit
    def forward(params):
        model = nnx.merge(graphdef, params)
        states = model.embed(jnp.arange(20))
        mask = jnp.tril(jnp.ones((20, 20), bool))
        hidden = model(states, 5 * jnp.arange(20), mask, jnp.array([19]))
        return model.option_logits(hidden, jnp.arange(6)[None])

    return np.asarray(forward(params))


def _shapes(config: jm.LlamaConfig) -> list[tuple[int, ...]]:
    return [leaf.shape for leaf in jax.tree.leaves(jm.abstract_model(config, "float32")[1])]


def _longest_accepted(config: jm.LlamaConfig) -> bool:
    try:
        config.check_positions(100)
    except UserError:
        return False
    return True


def test_all_fields_are_listed():
    assert set(CHANGES) == {field.name for field in dataclasses.fields(jm.LlamaConfig)}
    assert set(ROPE_CHANGES) == {field.name for field in dataclasses.fields(jm.RopeConfig)}


@pytest.mark.parametrize("field", first(4, CHANGES))
def test_field_matters(field):
    changed = dataclasses.replace(CONFIG, **{field: CHANGES[field]})
    if _shapes(changed) != _shapes(CONFIG) or not _longest_accepted(changed):
        return
    assert np.abs(_logits(changed) - _logits(CONFIG)).max() > 1e-4


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
    "attention_bias": True,
    "mlp_bias": True,
    "tie_word_embeddings": True,
    "max_position_embeddings": 256,
    "rope_theta": 500000.0,
    "rope_scaling": {"type": "linear", "factor": 2.0},
    "rope_parameters": {"rope_type": "default", "rope_theta": 20000.0},
}


@pytest.mark.parametrize("field", RAW_CHANGES)
def test_file_field_reaches_the_config(field):
    assert set(FIELDS) < set(RAW_CHANGES)
    changed = BASE | {field: RAW_CHANGES[field]}
    assert jm.parse_config(changed, "config.json") != jm.parse_config(BASE, "config.json")


@pytest.mark.parametrize(
    "scaling", [{"rope_type": "llama3", **LLAMA3}, {"rope_type": "yarn", **YARN}]
)
def test_dialects_agree(scaling):
    new = BASE | {"rope_parameters": scaling | {"rope_theta": 5e5}}
    old = BASE | {"rope_theta": 5e5, "rope_scaling": scaling}
    assert jm.parse_config(new, "new") == jm.parse_config(old, "old")
    config = jm.parse_config(new, "new")
    assert jm.parse_config(jm.to_hf(config), "again") == config


def test_defaults_are_those_of_transformers():
    config = jm.parse_config({"model_type": "llama"}, "config.json")
    assert config == jm.LlamaConfig()
    transformers = pytest.importorskip("transformers")
    theirs = transformers.LlamaConfig().to_dict() | {"model_type": "llama"}
    assert jm.parse_config(theirs, "config.json") == config
