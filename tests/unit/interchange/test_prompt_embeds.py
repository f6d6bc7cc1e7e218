"""Questions as embeddings: transformers, given these and no token, answers as we do."""

import json
import shutil

import jax
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

from jaxalign.config import base, freeze
from jaxalign.errors import UserError
from jaxalign.fitness.readout import answer_logits
from jaxalign.interchange import export, read_soft_prompt
from jaxalign.problem import load_problem


@pytest.fixture(scope="module")
def exported(several, tmp_path_factory):
    output = tmp_path_factory.mktemp("embeds") / "out"
    export(several / "countries" / "SA", "prompt_embeds", output)
    index = json.loads((output / "index.json").read_text())
    return index, safetensors.numpy.load_file(output / "prompt_embeds.safetensors")


@pytest.fixture(scope="module")
def problem(tiny_folder):
    config = base("embedded")
    config.country = "SA"
    config.model.path = str(tiny_folder)
    return load_problem(freeze(config))


def test_a_tensor_is_the_soft_prompt_and_then_the_text(several, exported, problem):
    index, tensors = exported
    prompt_LD = read_soft_prompt(several / "countries" / "SA")
    table_VD = np.asarray(problem.weights["embedding"][...])
    items = [item.id for item in problem.instrument.items]
    questions = index["questions"]
    assert set(items) <= set(tensors) == {question["tensor"] for question in questions}
    assert [question["item"] for question in questions] == items * len(problem.sets.tune)
    assert index["soft_prompt_rows"] == 3 and index["width"] == 32
    for question in questions:
        rows = tensors[question["tensor"]]
        assert rows.dtype == np.float32 and rows.shape == (question["rows"], 32)
        np.testing.assert_array_equal(rows[:3], prompt_LD)
        tokens = problem.tokenizer(question["text"], add_special_tokens=False)["input_ids"]
        np.testing.assert_array_equal(rows[3:], table_VD[tokens])
        assert tokens[0] == problem.tokenizer.bos_token_id
        for label, token in zip(question["labels"], question["option_tokens"], strict=True):
            assert problem.tokenizer.decode([token]) == label
        assert question["item_text"] in question["text"]


def test_transformers_gives_our_answers_to_them(several, exported, problem):
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM

    theirs = AutoModelForCausalLM.from_pretrained(problem.folder, dtype=torch.float32).eval()
    index, tensors = exported

    @jax.jit
    def ours(weights, task, prompt_LD):
        return answer_logits(nnx.merge(problem.graphdef, weights), task.layout, prompt_LD)

    prompt_LD = read_soft_prompt(several / "countries" / "SA")
    logits_QA = np.asarray(ours(problem.weights, problem.task, prompt_LD))
    for row in range(0, len(index["questions"]), 7):
        question = index["questions"][row]
        embeddings = torch.tensor(tensors[question["tensor"]])[None]
        with torch.no_grad():
            logits = theirs(inputs_embeds=embeddings).logits[0, -1]
        options = question["option_tokens"]
        # float32 on both sides, summed in another order, on logits of up to 10
        np.testing.assert_allclose(
            logits_QA[row, : len(options)], logits[options], rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("part", ["weights", "survey"])
def test_questions_that_the_run_did_not_ask_are_refused(part, alone, change, tmp_path):
    change(alone / "config.json", "0" * 64, "digests", part)
    with pytest.raises(UserError, match=rf"^--format=prompt_embeds: the {part} changed [^\n]*$"):
        export(alone, "prompt_embeds", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    export(alone, "npy", tmp_path / "out")  # needs neither


def test_shards_are_read_for_the_rows_that_are_asked(several, problem, tiny_folder, tmp_path):
    from jaxalign.model import read_embeddings

    folder = tmp_path / "sharded"
    folder.mkdir()
    shutil.copy(tiny_folder / "config.json", folder)
    tensors = safetensors.numpy.load_file(tiny_folder / "model.safetensors")
    first, second = dict(list(tensors.items())[::2]), dict(list(tensors.items())[1::2])
    shards = {"a.safetensors": first, "b.safetensors": second}
    for name, part in shards.items():
        safetensors.numpy.save_file(part, folder / name)
    places = {key: name for name, part in shards.items() for key in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    table_VD = tensors["model.embed_tokens.weight"]
    rows = read_embeddings(folder, [7, 2, 7])
    np.testing.assert_array_equal(rows, table_VD[[7, 2, 7]])
    with pytest.raises(UserError, match=f"has {len(table_VD)} rows and no token {len(table_VD)}"):
        read_embeddings(folder, [len(table_VD)])
