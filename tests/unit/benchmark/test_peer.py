"""The peer: the same losses from the same memory, and what it refuses."""

import dataclasses
import sys
from functools import partial
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from jaxalign.benchmark.duel import duel
from jaxalign.benchmark.peer import Peer, PrefixPeer, check_objective, numpy_losses, right_padded
from jaxalign.config import freeze
from jaxalign.errors import UserError
from jaxalign.fitness import Execution
from jaxalign.model import load_model
from jaxalign.model.abstract import named_leaves
from jaxalign.problem import load_problem
from jaxalign.prompts import encode, question_text, render_chat
from jaxalign.run.random_weights import SHAPES, with_random_weights

UNTIED = {"tie_word_embeddings": False, "num_key_value_heads": 1}


def our_side(config, problem):
    """What a duel needs of the parts of a generation."""
    candidates = len(problem.targets) * config.search.population
    shape = candidates, config.prompt.length, problem.model_config.width
    prompts_ELD = 0.5 * jax.random.normal(jax.random.key(0), shape)
    score = jax.jit(problem.evaluator(Execution(3)))
    score = partial(score, problem.weights, problem.task, prompts_ELD, key=jax.random.key(1))
    return SimpleNamespace(prompts_ELD=prompts_ELD, evaluate=score)


@pytest.fixture
def parts(tiny_config, tiny_problem):
    return our_side(tiny_config, tiny_problem)


@pytest.fixture
def torch(monkeypatch):
    """With one thread: several wait for each other where the cores have other work."""
    monkeypatch.setattr("jaxalign.benchmark.peer._cores", lambda: 1)
    return pytest.importorskip("torch")


def test_the_padded_rows_are_the_questions(tiny_problem):
    ids_QS, lengths_Q = right_padded(tiny_problem.questions.trie)
    assert ids_QS.shape == (24, lengths_Q.max())
    for row, length, item in zip(ids_QS, lengths_Q, tiny_problem.instrument.items, strict=True):
        text = render_chat(tiny_problem.tokenizer, question_text(tiny_problem.instrument, item))
        assert row[:length].tolist() == encode(tiny_problem.tokenizer, text)
        assert not row[length:].any()


@pytest.mark.parametrize(("norm", "make"), [("l1", Peer), ("l2", Peer), ("l1", PrefixPeer)])
def test_the_peer_gives_our_losses(torch, tiny_config, norm, make):
    tiny_config.country = "SA,US"
    tiny_config.objective.norm = norm
    problem = load_problem(freeze(tiny_config))
    peer, ours = make(problem), our_side(tiny_config, problem)
    prompts_PLD = np.array(ours.prompts_ELD)
    logits_PQA = peer.logits(prompts_PLD, batch=5)  # the last batch is not full
    assert logits_PQA.shape == (12, *problem.questions.answer_ids_QA.shape)
    np.testing.assert_allclose(logits_PQA, peer.logits(prompts_PLD, batch=1), rtol=1e-4, atol=1e-5)
    theirs_GP = numpy_losses(freeze(tiny_config), problem, logits_PQA)
    assert theirs_GP.shape == (2, 12) and np.ptp(theirs_GP) > 1
    np.testing.assert_allclose(theirs_GP, ours.evaluate().loss_GP, rtol=1e-5, atol=1e-5)


def test_a_prefix_is_all_that_the_questions_share_and_computed_once(torch, tiny_problem):
    peer = PrefixPeer(tiny_problem)
    ids_QS, lengths_Q = right_padded(tiny_problem.questions.trie)
    shared = peer._shared
    assert 0 < shared < lengths_Q.min()
    assert (ids_QS[:, :shared] == ids_QS[0, :shared]).all()
    assert len(set(ids_QS[:, shared])) > 1
    seen = []
    peer._model.model.register_forward_pre_hook(
        lambda _, __, named: seen.append(tuple(named["inputs_embeds"].shape[:2])), with_kwargs=True
    )
    peer.logits(np.zeros((4, 3, tiny_problem.model_config.width), np.float32), batch=2)
    assert seen == [(2, 3 + shared), (2 * 24, lengths_Q.max() - shared)] * 2


def test_the_weights_are_not_copied(torch, tiny_problem):
    leaves = named_leaves(tiny_problem.weights)
    model = Peer(tiny_problem)._model
    embedding = leaves["embedding"].unsafe_buffer_pointer()
    assert model.model.embed_tokens.weight.data_ptr() == embedding
    assert model.lm_head.weight.data_ptr() == embedding  # tied
    up = leaves["block.up"]
    behind = up.unsafe_buffer_pointer() + up.nbytes // 2  # the second of two layers
    assert model.model.layers[1].mlp.up_proj.weight.data_ptr() == behind


def test_bfloat16_and_an_untied_head(torch, tiny_config, tiny_problem, small_shape, monkeypatch):
    monkeypatch.setitem(SHAPES, small_shape, SHAPES[small_shape] | UNTIED)
    tiny_config.model.dtype = "bfloat16"
    problem = with_random_weights(freeze(tiny_config), tiny_problem, small_shape)
    peer = Peer(problem)
    assert peer._model.lm_head.weight.dtype == torch.bfloat16
    head = named_leaves(problem.weights)["head"].unsafe_buffer_pointer()
    assert peer._model.lm_head.weight.data_ptr() == head
    prompts_PLD = np.zeros((1, 3, problem.model_config.width), np.float32)
    assert np.isfinite(peer.logits(prompts_PLD, batch=1)).all()


def test_sides_take_turns_and_a_population_is_timed_once(torch, tiny_config, tiny_problem, parts):
    peer = Peer(tiny_problem)
    first = duel(peer, freeze(tiny_config), tiny_problem, parts, 3)
    assert first["alternated"] and first["losses"]["equal"] is True
    assert first["losses"]["largest_difference"] < 1e-4
    assert first["ratio_least"] <= first["ratio"] <= first["ratio_most"]
    assert first["tried"][str(first["batch"])] == max(first["tried"].values())
    assert first["candidates_per_second"] == pytest.approx(6 / first["seconds"])
    seconds = [list(known.seconds) for known in peer.known.values()]
    again = duel(peer, freeze(tiny_config), tiny_problem, parts, 3)
    assert [known.seconds for known in peer.known.values()] == seconds and len(seconds[0]) == 3
    assert not again["alternated"] and again["seconds"] == first["seconds"]


def test_other_weights_are_told(torch, tiny_config, tiny_problem, parts, tiny_folder):
    louder = jax.tree.map(lambda leaf: leaf * 1.01, load_model(tiny_folder, "float32")[1])
    other = dataclasses.replace(tiny_problem, weights=louder)
    losses = duel(Peer(other), freeze(tiny_config), tiny_problem, parts, 1)["losses"]
    assert losses["equal"] is False and losses["largest_difference"] > losses["allowed"]
    tiny_config.model.dtype = "bfloat16"  # in which a difference is told, not judged
    losses = duel(Peer(other), freeze(tiny_config), tiny_problem, parts, 1)["losses"]
    assert losses["equal"] is None and losses["largest_difference"] > 1e-4


def test_without_torch_one_line_says_how_to_get_it(tiny_problem, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(
        UserError, match=r"--peer=transformers: torch is not .* pip install .*torch"
    ):
        Peer(tiny_problem)


@pytest.mark.parametrize(("key", "value"), [("readout", "greedy"), ("terms.prompt_norm", 1.0)])
def test_another_objective_is_refused(tiny_config, key, value):
    check_objective(freeze(tiny_config))
    tiny_config.objective.update_from_flattened_dict({key: value})
    with pytest.raises(UserError, match="--peer=transformers scores expected answers"):
        check_objective(freeze(tiny_config))
