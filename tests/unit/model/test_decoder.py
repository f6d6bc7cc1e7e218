"""Properties of the forward pass that need no reference: trees, reading, batching, memory."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from parity_cases import BASE
from small_models import CONFIG, numpy_model
from tiers import every

import jaxalign.model as jm
from jaxalign.model.abstract import named_leaves
from jaxalign.model.architecture import FAMILIES
from jaxalign.model.partition import partition

LLAMA3_8B = {
    "model_type": "llama",
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05,
    "rope_theta": 500000.0,
    "max_position_embeddings": 8192,
    "torch_dtype": "bfloat16",
}


def _model(layers: int = 3, dtype: str = "float32") -> jm.Decoder:
    return nnx.merge(*numpy_model(dataclasses.replace(CONFIG, layers=layers), dtype))


@jax.jit
def _run(model: jm.Decoder, embeddings, positions, mask, read) -> jax.Array:
    return model(embeddings, positions, mask, read)


def _causal(length: int) -> tuple[jax.Array, jax.Array]:
    return jnp.arange(length), jnp.tril(jnp.ones((length, length), bool))


def _tree(parents: list[int]) -> tuple[jax.Array, jax.Array, list[list[int]]]:
    """Positions, mask and root-to-node paths of a tree given by its parents (-1 for the root)."""
    paths: list[list[int]] = []
    for node, parent in enumerate(parents):
        paths.append(([] if parent < 0 else paths[parent]) + [node])
    mask = np.zeros((len(parents), len(parents)), bool)
    for node, path in enumerate(paths):
        mask[node, path] = True
    return jnp.array([len(path) - 1 for path in paths]), jnp.asarray(mask), paths


@pytest.mark.parametrize("layers", every([1, 3], 3))
def test_tree_equals_separate_sequences(layers):
    model = _model(layers)
    parents = [-1, 0, 1, 2, 2, 4, 1, 6, 7, 0]
    positions, mask, paths = _tree(parents)
    leaves = [node for node in range(len(parents)) if node not in parents]
    tokens = jax.random.randint(jax.random.key(1), (len(parents),), 0, CONFIG.vocab_size)
    together = _run(model, model.embed(tokens), positions, mask, jnp.array(leaves))
    for row, leaf in enumerate(leaves):
        path = np.pad(paths[leaf], (0, len(parents) - len(paths[leaf])))  # one shape: compiled once
        alone = _run(
            model, model.embed(tokens[path]), *_causal(len(path)), jnp.array([len(paths[leaf]) - 1])
        )
        np.testing.assert_allclose(together[row], alone[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layers", every([1, 2, 3], 2))
def test_reading_few_rows_equals_computing_all(layers):
    model = _model(layers)
    embeddings = jax.random.normal(jax.random.key(2), (12, CONFIG.width))
    positions, mask = _causal(12)
    everything = _run(model, embeddings, positions, mask, jnp.arange(12))
    read = jnp.array([7, 2, 11, 2])
    few = _run(model, embeddings, positions, mask, read)
    np.testing.assert_allclose(few, everything[read], rtol=1e-5, atol=1e-6)
    last = jax.jit(jm.Decoder.layer_states)(model, embeddings, positions, mask)[-1]
    np.testing.assert_allclose(everything, model.final_norm(last), rtol=1e-5, atol=1e-5)


def test_vmapped_equals_looped():
    model = _model()
    population = jax.random.normal(jax.random.key(3), (4, 9, CONFIG.width))
    positions, mask = _causal(9)
    read = jnp.array([8, 3])
    vmapped = jax.vmap(lambda embeddings: _run(model, embeddings, positions, mask, read))(
        population
    )
    for member, embeddings in zip(vmapped, population, strict=True):
        looped = _run(model, embeddings, positions, mask, read)
        np.testing.assert_allclose(member, looped, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("tied", [False, True])
def test_option_logits_are_rows_of_the_full_head(tied):
    config = dataclasses.replace(CONFIG, tied=tied)
    model = nnx.merge(*numpy_model(config))
    hidden = jax.random.normal(jax.random.key(4), (3, CONFIG.width))
    ids = jnp.array([[1, 2, 3], [39, 0, 5], [7, 7, 7]])
    head = model.embedding[...] if tied else model.head[...]
    full = jnp.matmul(hidden, head.T, precision="highest")
    expected = jnp.take_along_axis(full, ids, axis=1)
    np.testing.assert_allclose(model.option_logits(hidden, ids), expected, rtol=1e-5, atol=1e-6)


def test_weights_are_frozen_and_dtype_is_kept():
    for dtype in ("float32", "bfloat16"):
        model = _model(1, dtype)
        variables = jax.tree.leaves(nnx.state(model), is_leaf=lambda x: isinstance(x, nnx.Variable))
        assert all(type(variable) is jm.Frozen for variable in variables)
        hidden = _run(model, jnp.ones((5, CONFIG.width)), *_causal(5), jnp.array([4]))
        assert hidden.dtype == dtype
        assert model.option_logits(hidden, jnp.array([[1, 2]])).dtype == jnp.float32


def test_random_model_has_the_abstract_shapes_and_transformers_scale():
    _, params = jm.random_model(CONFIG, "bfloat16", 0)
    _, abstract = jm.abstract_model(CONFIG, "bfloat16")
    shapes = [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(params)]
    assert shapes == [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(abstract)]
    assert 0.018 < float(jnp.std(params["block"]["gate"].get_value().astype(jnp.float32))) < 0.022


def test_float32_products_keep_float32():
    """No dot may fall to bfloat16 or tf32 on an accelerator."""
    model = _model()
    jaxpr = jax.make_jaxpr(
        lambda embeddings: model.option_logits(
            model(embeddings, *_causal(5), jnp.array([4])), jnp.array([[1, 2]])
        )
    )(jnp.ones((5, CONFIG.width)))
    dots = [line for line in str(jaxpr).split("dot_general[")[1:]]
    assert dots and all("precision=(Precision.HIGHEST, Precision.HIGHEST)" in dot for dot in dots)


@pytest.mark.parametrize("wrong", ["width", "positions", "mask", "mask type", "attention"])
def test_wrong_shapes_are_refused(wrong):
    model = _model(1)
    positions, mask = _causal(5)
    embeddings = jnp.ones((5, CONFIG.width + (wrong == "width")))
    positions = positions[:4] if wrong == "positions" else positions
    mask = mask[:4] if wrong == "mask" else mask
    mask = mask.astype(jnp.float32) if wrong == "mask type" else mask
    attention = "none such" if wrong == "attention" else "xla"
    with pytest.raises(ValueError):
        model(embeddings, positions, mask, jnp.array([4]), attention=attention)


def _population_forward(config: jm.DecoderConfig, dtype: str, length: int, candidates: int):
    graphdef, params = jm.abstract_model(config, dtype)

    def forward(params, population, positions, mask, read, ids):
        model = nnx.merge(graphdef, params)

        def one(embeddings):
            return model.option_logits(model(embeddings, positions, mask, read), ids)

        return jax.vmap(one)(population)

    arguments = (
        params,
        jax.ShapeDtypeStruct((candidates, length, config.width), jnp.float32),
        jax.ShapeDtypeStruct((length,), jnp.int32),
        jax.ShapeDtypeStruct((length, length), jnp.bool_),
        jax.ShapeDtypeStruct((24,), jnp.int32),
        jax.ShapeDtypeStruct((24, 5), jnp.int32),
    )
    return forward, arguments


@pytest.mark.parametrize("family", FAMILIES)
def test_a_mesh_splits_matrices_and_their_biases_and_copies_norms(family):
    bias = {"attention_bias": True} if family in ("llama", "qwen3", "gemma3_text") else {}
    config = jm.parse_config(BASE | {"model_type": family, "head_dim": 8} | bias, "x")
    leaves = named_leaves(jm.abstract_model(config, "float32")[1])
    sizes = jm.split_sizes(config).values()
    split = {name: [part is not None for part in partition(name)] for name in leaves}
    for name, leaf in leaves.items():
        whole = name.endswith("norm") or name in ("norm", "block.output_bias")
        assert any(split[name]) != whole, name
        for size, is_split in zip(leaf.shape, split[name], strict=False):
            assert not is_split or size in {*sizes, *(n * config.head_dim for n in sizes)}, name


def test_full_8b_without_its_memory():
    config = jm.parse_config(LLAMA3_8B, "config.json")
    _, params = jm.abstract_model(config, "bfloat16")
    assert jm.parameter_count(params) == 8_030_261_248
    assert round(jm.parameter_bytes(params) / 2**30, 2) == 14.96
    forward, arguments = _population_forward(config, "bfloat16", length=780, candidates=4)
    lowered = jax.jit(forward).lower(*arguments)
    assert lowered.out_info.shape == (4, 24, 5)
    assert lowered.out_info.dtype == jnp.float32
    assert "4x24x128256" not in lowered.as_text()


def test_no_weight_is_captured():
    forward, arguments = _population_forward(CONFIG, "float32", length=10, candidates=2)
    constants = jax.make_jaxpr(forward)(*arguments).consts
    assert all(np.size(constant) <= CONFIG.head_dim for constant in constants)


def test_compiled_forward_copies_no_stack():
    """Temporary memory stays below one stacked weight, however many layers there are."""
    config = dataclasses.replace(CONFIG, width=64, mlp_width=512, layers=40)
    forward, arguments = _population_forward(config, "float32", length=8, candidates=2)
    memory = jax.jit(forward).lower(*arguments).compile().memory_analysis()
    stack = config.layers * config.width * config.mlp_width * 4
    assert memory.temp_size_in_bytes < stack / 2
