"""Greedy generation: equal to transformers, to no cache at all, to one question at a time."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import parity_cases as parity
import pytest
import small_models
from flax import nnx
from tiers import every

import jaxalign.model as jm
from jaxalign.prompts import build_trie

LIMIT = 7
NO_STOPS = (-7, -7)  # two that are no tokens: all tests that can share a compiled program


def questions(vocabulary):
    """Sequences of different lengths: two share a stem, one is a part of another, two are equal."""
    draw = np.random.default_rng(3)
    stem, *tails = (draw.integers(0, vocabulary, size).tolist() for size in (6, 1, 5, 11))
    return [stem + tails[0], stem + tails[1], tails[2], stem, stem + tails[1]]


def soft_prompt(length, width):
    return np.random.default_rng(4).normal(size=(length, width)).astype(np.float32)


@functools.partial(jax.jit, static_argnames=("limit", "attention"))
def generate(graphdef, params, prompt_LD, trie, mask_TT, tree, stops_E, limit, attention):
    tokens_T, positions_T, ends_Q = trie
    model, length, size = nnx.merge(graphdef, params), prompt_LD.shape[0], tokens_T.shape[0]
    mask_SS = jnp.block(
        [
            [jnp.tri(length, dtype=bool), jnp.zeros((length, size), bool)],
            [jnp.ones((size, length), bool), mask_TT],
        ]
    )
    embeddings_SD = jnp.concatenate(
        [prompt_LD.astype(model.embedding.dtype), model.embed(tokens_T)]
    )
    positions_S = jnp.concatenate([jnp.arange(length), positions_T + length])
    return jm.generate(
        model,
        embeddings_SD,
        positions_S,
        mask_SS,
        ends_Q + length,
        stops_E=stops_E,
        limit=limit,
        attention=attention,
        tree=tree,
    )


def ours(graphdef, params, prompt_LD, sequences, stops=NO_STOPS, limit=LIMIT, attention="blocks"):
    trie = build_trie(sequences)
    written = generate(
        graphdef,
        params,
        prompt_LD,
        (trie.tokens_T, trie.positions_T, trie.answer_nodes_Q),
        trie.ancestors_TT(),
        jm.cut_tree(trie.parents_T, rows=8),
        jnp.array(stops, jnp.int32),
        limit,
        attention,
    )
    return np.asarray(written.tokens_QN), np.asarray(written.lengths_Q)


def without_cache(graphdef, params, prompt_LD, sequences):
    """Every token from the whole sequences anew, from logits of the whole vocabulary."""
    length, start_Q = len(prompt_LD), np.array([len(each) for each in sequences])
    size = length + start_Q.max() + LIMIT

    @jax.jit
    def next_tokens(params, prompt_LD, tokens_QT, ends_Q):
        model = nnx.merge(graphdef, params)

        def one(tokens_T, end):
            rows = jnp.concatenate([prompt_LD.astype(model.embedding.dtype), model.embed(tokens_T)])
            hidden = model(rows, jnp.arange(size), jnp.tri(size, dtype=bool), end[None])
            ids = jnp.arange(model.config.vocab_size)
            return jnp.argmax(model.option_logits(hidden, ids[None])[0])

        return jax.vmap(one)(tokens_QT, ends_Q)

    # Those to come do not matter: the mask is causal.
    tokens_QT = np.zeros((len(sequences), size - length), np.int32)
    for row, sequence in zip(tokens_QT, sequences, strict=True):
        row[: len(sequence)] = sequence
    every_Q = np.arange(len(sequences))
    for place_Q in (start_Q + step for step in range(LIMIT)):
        tokens_QT[every_Q, place_Q] = next_tokens(
            params, prompt_LD, tokens_QT, length + place_Q - 1
        )
    return np.stack([tokens_QT[every_Q, start_Q + step] for step in range(LIMIT)], axis=1)


@pytest.mark.parametrize(
    ("name", "length"),
    every([("gqa", 0), ("gqa", 3), ("mha", 3), ("mqa", 3), ("one_layer", 3), ("biased", 3),
           ("v5_llama3", 3), ("mistral", 3), ("qwen2", 3), ("qwen3", 3), ("gemma3_old", 3)],
          ("gqa", 0), ("biased", 3), ("gemma3_old", 3)),
)  # fmt: skip
def test_equals_transformers(name, length, tmp_path):
    torch = pytest.importorskip("torch")
    raw = parity.BASE | parity.CASES[name]
    model = parity.torch_model(raw)
    graphdef, params, config = jm.load_model(parity.save_torch(model, raw, tmp_path), "float32")
    prompt_LD, sequences = soft_prompt(length, config.width), questions(config.vocab_size)

    def theirs(sequence, stops):
        with torch.no_grad():
            rows = model.get_input_embeddings()(torch.tensor(sequence))
            inputs = torch.cat([torch.tensor(prompt_LD), rows])[None]
            written = model.generate(
                inputs_embeds=inputs,
                attention_mask=torch.ones(inputs.shape[:2], dtype=torch.long),
                do_sample=False,
                max_new_tokens=LIMIT,
                eos_token_id=stops or None,
                pad_token_id=0,
            )
        return written[0].tolist()

    free = [theirs(sequence, []) for sequence in sequences]
    assert len({token for row in free for token in row}) > 5  # else agreement would mean little
    tokens_QN, lengths_Q = ours(graphdef, params, prompt_LD, sequences)
    np.testing.assert_array_equal(tokens_QN, free)
    np.testing.assert_array_equal(lengths_Q, LIMIT)

    stops = [free[0][4], free[2][1]]
    tokens_QN, lengths_Q = ours(graphdef, params, prompt_LD, sequences, stops)
    for sequence, tokens_N, size in zip(sequences, tokens_QN, lengths_Q, strict=True):
        expected = theirs(sequence, stops)
        if expected[-1] in stops:
            expected.pop()
        assert tokens_N[:size].tolist() == expected
        assert (tokens_N[size:] == jm.NOTHING).all()
    assert lengths_Q.min() < LIMIT


@pytest.fixture
def small():
    return small_models.numpy_model(small_models.CONFIG)


@pytest.mark.parametrize(("mode", "length"), [("none", 2), ("int8", 2)])
def test_equals_no_cache(small, mode, length):
    graphdef, params = small
    params = jm.quantize(params, mode, keep=True)
    prompt_LD = soft_prompt(length, small_models.CONFIG.width)
    sequences = questions(small_models.CONFIG.vocab_size)
    tokens_QN, _ = ours(graphdef, params, prompt_LD, sequences)
    expected = without_cache(graphdef, params, prompt_LD, sequences)
    np.testing.assert_array_equal(tokens_QN, expected)
    assert len(np.unique(tokens_QN)) > 8


@pytest.mark.parametrize("attention", every(["blocks", "xla"], "blocks"))
def test_together_equals_one_by_one(small, attention):
    prompt_LD = soft_prompt(2, small_models.CONFIG.width)
    sequences = questions(small_models.CONFIG.vocab_size)
    together, _ = ours(*small, prompt_LD, sequences, attention=attention)
    alone, _ = ours(*small, prompt_LD, sequences[1:2], attention=attention)
    np.testing.assert_array_equal(together[1], alone[0])
    np.testing.assert_array_equal(together[4], alone[0])  # the same question again


def test_a_shorter_limit_only_cuts(small):
    prompt_LD = soft_prompt(2, small_models.CONFIG.width)
    sequences = questions(small_models.CONFIG.vocab_size)
    whole, _ = ours(*small, prompt_LD, sequences)
    part, lengths_Q = ours(*small, prompt_LD, sequences, limit=1)
    np.testing.assert_array_equal(part, whole[:, :1])
    np.testing.assert_array_equal(lengths_Q, 1)


def test_a_stop_ends_its_own_question_only(small):
    prompt_LD = soft_prompt(2, small_models.CONFIG.width)
    sequences = questions(small_models.CONFIG.vocab_size)
    free, _ = ours(*small, prompt_LD, sequences)
    for stops in ([free[1, 3], free[2, 5]], [free[0, 0], free[2, 0]]):
        tokens_QN, lengths_Q = ours(*small, prompt_LD, sequences, stops)
        stopped_QN = np.cumsum(np.isin(free, stops), axis=1) > 0
        np.testing.assert_array_equal(tokens_QN, np.where(stopped_QN, jm.NOTHING, free))
        np.testing.assert_array_equal(lengths_Q, (~stopped_QN).sum(1))


@pytest.mark.parametrize("chunk", every([1, 7, 40, 64], 7))
def test_the_whole_vocabulary_by_parts(chunk):
    draw = np.random.default_rng(0)
    rows_VD = 3 * draw.normal(size=(40, 8)).astype(np.float32)
    rows_VD[33] = rows_VD[5]
    hidden_RD = np.concatenate([draw.normal(size=(6, 8)), rows_VD[5:6], -9 * rows_VD[:1]])
    read = jm.read_vocabulary(jnp.array(rows_VD), jnp.array(hidden_RD, jnp.float32), chunk)
    logits_RV = hidden_RD @ rows_VD.T.astype(np.float64)
    assert np.abs(logits_RV).max() > 100  # a plain sum of exponentials would overflow
    np.testing.assert_array_equal(read.likeliest_R, logits_RV.argmax(1))  # 5, not its equal 33
    expected = np.logaddexp.reduce(logits_RV, axis=1)
    np.testing.assert_allclose(read.log_total_R, expected, rtol=1e-5)


def test_never_holds_logits_of_the_whole_vocabulary():
    arguments = jnp.zeros((1000, 8)), jnp.zeros((5, 8))
    text = str(jax.make_jaxpr(functools.partial(jm.read_vocabulary, chunk=64))(*arguments))
    assert "[5,64]" in text and ",1000]" not in text
