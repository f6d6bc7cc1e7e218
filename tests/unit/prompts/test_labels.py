"""Options of several tokens: their probability is that of the whole sequence, as torch has it."""

import jax
import numpy as np
import parity_cases as parity
import pytest
from flax import nnx

import jaxalign.model as jm
from jaxalign.errors import UserError
from jaxalign.fitness.readout import answer_logits
from jaxalign.objective import Layout
from jaxalign.prompts import Asked, encode, encode_asked, lay_out_paths, render_chat

TEN = tuple(str(number) for number in range(1, 11))
TURNS = (
    "{% for message in messages %}{{ '<' + message['content'] + '>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '\n' }}{% endif %}"
)
# Questions and answers in a row; after "Answer:" a space may come first.
ROWS = (
    "{% for message in messages %}"
    "{{ 'Answer: ' if message['role'] == 'assistant' }}{{ message['content'] + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Answer:' }}{% endif %}"
)
ASKED = (
    Asked("How happy?", TEN, "item a"),
    Asked("Is it so?", ("yes", "no"), "item b"),
    Asked("How good?", ("very good", "very bad", "none"), "item c"),
)


def layout_of(tokenizer, asked):
    encoded = encode_asked(tokenizer, asked)
    trie, longer = lay_out_paths(encoded.sequences, encoded.paths, encoded.offered_QA.shape[1])
    return Layout(
        tokens_T=trie.tokens_T,
        positions_T=trie.positions_T,
        mask_TT=trie.ancestors_TT(),
        tree=jm.cut_tree(trie.parents_T),
        answer_nodes_Q=trie.answer_nodes_Q,
        answer_ids_QA=encoded.answer_ids_QA,
        offered_QA=encoded.offered_QA,
        longer=longer,
    )


def probability(model, prompt_LD, sequence, way):
    """Probability of tokens after a question, by one forward pass of torch."""
    import torch

    rows = model.get_input_embeddings()(torch.tensor([*sequence, *way]))
    rows = torch.cat([torch.tensor(np.asarray(prompt_LD)), rows])[None]
    with torch.no_grad():
        logits = model(inputs_embeds=rows, use_cache=False).logits[0].double()
    log_SV = torch.log_softmax(logits, dim=-1)
    first = len(prompt_LD) + len(sequence) - 1
    return np.exp(sum(log_SV[first + step, token].item() for step, token in enumerate(way)))


@pytest.mark.parametrize(
    ("template", "spaces", "end"), [(TURNS, [""], ">"), (ROWS, ["", " "], "\n")], ids=["one", "two"]
)
def test_probabilities_are_those_of_whole_sequences(template, spaces, end, tiny, tmp_path):
    pytest.importorskip("torch")
    tokenizer = tiny([], template)  # without a merge every character is a token
    layout = layout_of(tokenizer, ASKED)
    raw = parity.BASE | {"vocab_size": len(tokenizer), "max_position_embeddings": 64}
    torch_model = parity.torch_model(raw)
    folder = parity.save_torch(torch_model, raw, tmp_path / "model")
    graphdef, weights, config = jm.load_model(folder, "float32")
    prompt_LD = 0.5 * jax.random.normal(jax.random.key(0), (3, config.width))

    @jax.jit
    def answer(weights, layout, prompt_LD):
        return jax.nn.softmax(answer_logits(nnx.merge(graphdef, weights), layout, prompt_LD), -1)

    shares_QA = np.asarray(answer(weights, layout, prompt_LD))
    for question, one in enumerate(ASKED):
        sequence = encode(tokenizer, render_chat(tokenizer, one.user))
        expected = []
        for label in one.labels:
            written = label + end * (label == "1")  # 10 goes on where 1 ends
            ways = [encode(tokenizer, space + written) for space in spaces]
            if one.where == "item b" and spaces == [""]:
                ways = [ways[0][:1]]  # which tells yes from no
            expected.append(sum(probability(torch_model, prompt_LD, sequence, w) for w in ways))
        np.testing.assert_allclose(
            shares_QA[question, : len(expected)],
            np.array(expected) / sum(expected),
            rtol=2e-5,
            err_msg=one.where,
        )
        assert not shares_QA[question, len(expected) :].any()


def test_labels_of_one_token_need_nothing_more(trained):
    """So that they cost what they did, and existing runs resume."""
    asked = [Asked("How?", ("1", "2", "3"), "a"), Asked("So?", ("4",), "b")]
    assert layout_of(trained, asked).longer is None


def test_a_gradient_goes_through(tiny):
    layout = layout_of(tiny([], TURNS), ASKED)
    config = jm.parse_config(parity.BASE | {"vocab_size": 300}, "config")
    graphdef, weights = jm.random_model(config, "float32", seed=0)

    def loss(prompt_LD):
        logits_QA = answer_logits(nnx.merge(graphdef, weights), layout, prompt_LD)
        return jax.nn.softmax(logits_QA, -1)[0, 9]

    start_LD = 0.5 * jax.random.normal(jax.random.key(0), (2, config.width))
    step_LD = jax.random.normal(jax.random.key(1), start_LD.shape)
    slope = np.vdot(jax.jit(jax.grad(loss))(start_LD), step_LD)
    near = jax.jit(lambda size: loss(start_LD + size * step_LD))
    assert slope == pytest.approx(float(near(1e-2) - near(-1e-2)) / 2e-2, rel=0.05)


def test_options_that_are_written_alike_are_refused(tiny):
    with pytest.raises(UserError, match="item a: options '1' and '1' are written with the same"):
        encode_asked(tiny([], TURNS), [Asked("Q", ("1", "2", "1"), "item a")])


def test_what_counts_for_nothing_is_taken_off_the_other_options(tiny):
    """10 goes on where 1 ends, so that it counts for nothing may not give 1 its probability."""
    tokenizer = tiny([], TURNS)
    one = ASKED[0]
    config = jm.parse_config(parity.BASE | {"vocab_size": len(tokenizer)}, "config")
    graphdef, weights = jm.random_model(config, "float32", seed=0)
    prompt_LD = jax.random.normal(jax.random.key(0), (2, config.width))

    @jax.jit
    def answer(weights, layout):
        logits_QA = answer_logits(nnx.merge(graphdef, weights), layout, prompt_LD)
        return jax.nn.softmax(logits_QA, -1)[0]

    everything, counting = (
        np.asarray(answer(weights, layout_of(tokenizer, [asked])))
        for asked in (one, one._replace(labels=TEN[:8], others=TEN[8:]))
    )
    np.testing.assert_allclose(counting, everything[:8] / everything[:8].sum(), rtol=2e-5)
