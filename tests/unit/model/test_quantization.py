"""Weights in 8 bits: the arithmetic by hand in NumPy, and how far the answers move."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import jaxalign.model as jm
from jaxalign.fitness import Execution
from jaxalign.model.quantization import MODES, Quantized, multiply, quantize

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(7, 48)).astype(np.float32)
WEIGHT = RNG.normal(size=(5, 48)).astype(np.float32) * np.float32(0.02)
QUANTIZED = [mode for mode in MODES if mode != "none"]


def shrink(matrix: np.ndarray, mode: str) -> tuple[np.ndarray, np.ndarray]:
    most = 127.0 if mode.startswith("int8") else 448.0
    scales = np.abs(matrix).max(axis=-1) / np.float32(most)
    scaled = matrix / scales[:, None]
    if mode.startswith("int8"):
        return np.rint(scaled).astype(np.int8), scales
    return scaled.astype(ml_dtypes.float8_e4m3fn), scales


@pytest.mark.parametrize("mode", QUANTIZED)
def test_products_are_those_of_the_8_bit_values(mode):
    values, scales = shrink(WEIGHT, mode)
    inputs, input_scales = INPUTS.astype(np.float64), np.ones(7)
    if not mode.endswith("_weights"):
        small, input_scales = shrink(INPUTS, mode)
        inputs = small.astype(np.float64)
    expected = (inputs @ values.astype(np.float64).T) * input_scales[:, None] * scales
    weight = Quantized(jnp.asarray(values), jnp.asarray(scales), not mode.endswith("_weights"))
    found = jax.jit(lambda inputs: multiply(inputs, weight, None))(INPUTS)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("mode", "bound"),
    [("int8", 0.02), ("int8_weights", 0.01), ("fp8", 0.06), ("fp8_weights", 0.04)],
)
def test_products_are_near_the_exact_ones(tiny_problem, mode, bound):
    params = quantize(tiny_problem.weights, mode, keep=True)
    matrix = tiny_problem.weights["block"]["gate"][...][1]
    inputs = jnp.asarray(RNG.normal(size=(9, matrix.shape[1])), jnp.float32)
    weight = jax.tree.map(lambda leaf: leaf[1], params["block"]["gate"].get_value())
    exact = inputs @ matrix.T
    off = jnp.linalg.norm(multiply(inputs, weight, None) - exact) / jnp.linalg.norm(exact)
    assert 0 < off < bound


@pytest.mark.parametrize(
    ("mode", "dtype", "platform", "total"),
    [
        ("fp8", "bfloat16", "cuda", "bf16"),
        ("fp8", "bfloat16", "tpu", "f32"),
        ("fp8", "bfloat16", "cpu", "f32"),
        ("fp8", "float32", "cuda", "f32"),
        ("int8", "bfloat16", "cuda", "i32"),
    ],
)
def test_a_gpu_alone_sums_fp8_into_the_type_of_the_result(mode, dtype, platform, total):
    values, scales = shrink(WEIGHT, mode)
    weight = Quantized(jnp.asarray(values), jnp.asarray(scales), True)
    traced = jax.jit(lambda inputs: multiply(inputs, weight, None)).trace(
        jax.ShapeDtypeStruct(INPUTS.shape, dtype)
    )
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    (product,) = (line for line in text.splitlines() if "stablehlo.dot_general" in line)
    assert product.endswith(f"-> tensor<7x5x{total}>")


def test_a_row_of_zeros_stays_zero():
    zeros = jnp.zeros((3, 48))
    for mode in QUANTIZED:
        values, scales = shrink(WEIGHT, mode)
        weight = Quantized(jnp.asarray(values), jnp.asarray(scales), not mode.endswith("_weights"))
        assert not np.any(multiply(zeros, weight, None))


@pytest.mark.parametrize("mode", QUANTIZED)
def test_answers_stay_near_and_memory_shrinks(tiny_problem, mode):
    params = quantize(tiny_problem.weights, mode, keep=True)
    prompts = jnp.asarray(RNG.normal(size=(2, 3, tiny_problem.model_config.width)), jnp.float32)

    def answers(weights):
        evaluator = tiny_problem.evaluator(Execution(chunk=2))
        key = jax.random.key(0)
        return evaluator(weights, tiny_problem.task, prompts, key=key).answers_PQA

    moved = np.abs(jax.jit(answers)(params) - jax.jit(answers)(tiny_problem.weights)).max()
    assert 0 < moved < 0.35  # the tiny model's weights are loud: its answers are near 0 or 1

    of_block = [jm.parameter_bytes(weights["block"]) for weights in (params, tiny_problem.weights)]
    assert of_block[0] < 0.4 * of_block[1]


def test_full_weights_are_freed_or_kept():
    config = jm.parse_config(
        {
            "model_type": "llama",
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "vocab_size": 11,
        },
        "here",
    )
    _, params = jm.random_model(config, "bfloat16", seed=0)
    full = params["block"]["down"][...]
    quantize(params, "int8", keep=True)
    assert not full.is_deleted()
    quantize(params, "int8")
    assert full.is_deleted()
    assert quantize(params, "none") is params
