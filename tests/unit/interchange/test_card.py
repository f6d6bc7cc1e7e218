"""The model card: read by a parser, with every number of the summary and no claim beyond it."""

import hashlib
import json
import re

import numpy as np
import pytest
import yaml

from jaxalign.errors import UserError
from jaxalign.interchange import WRITERS, export, read_soft_prompt
from jaxalign.interchange.base import BaseModel
from jaxalign.interchange.card import model_card
from jaxalign.interchange.tuned import read_tuned
from jaxalign.model import DecoderConfig
from jaxalign.report.numbers import format_loss, format_score

HUB = BaseModel("meta-llama/Meta-Llama-3-8B-Instruct", "main", True, DecoderConfig())


def card_of(workdir, tmp_path, form="peft") -> str:
    export(workdir, form, tmp_path / form)
    return (tmp_path / form / "README.md").read_text()


def front_of(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


def tables_of(card: str) -> dict[str, list[str]]:
    """First cell to the other cells, of all tables."""
    rows = [line.strip("| ").split(" | ") for line in card.splitlines() if line.startswith("|")]
    return {row[0]: row[1:] for row in rows}


@pytest.mark.parametrize("form", WRITERS)
def test_it_tells_the_summary_s_numbers(form, alone, tmp_path):
    summary = json.loads((alone / "summary.json").read_text())
    card = card_of(alone, tmp_path, form)
    rows = tables_of(card)
    for name, key in {"constant answer": "constant", "naive": "naive", "tuned": "best"}.items():
        assert rows[name] == [format_loss(summary["loss"][key])]
    for key, name in summary["dimension_names"].items():
        values = summary["target"][key], summary["naive_scores"][key], summary["scores"][key]
        assert rows[name] == list(map(format_score, values))
    assert summary["target_source"] in card and "Saudi Arabia" in card
    assert (
        f"C, the constant of the formulas and a convention, is {summary['constant'][0]:g}." in card
    )
    for words in ("strategy: RandomSearch", f"evaluations: {summary['evaluations']}", "seed: 0"):
        assert f"* {words}" in card
    assert "-m jaxalign.train --config=sa.py:embedded" in card
    assert "Not evaluated." in card and "has not been validated" in card and "licence" in card
    assert not re.search(r"accura|significan|aligned\b", card)


def test_the_front_matter_is_what_the_hub_takes(alone, tmp_path):
    front = front_of(card_of(alone, tmp_path))
    assert front["library_name"] == "peft" and "prompt-tuning" in front["tags"]
    assert "base_model" not in front  # the hub refuses a folder's path
    front = front_of(model_card("peft", read_tuned(alone), HUB))
    assert front["base_model"] == HUB.name and front["base_model_relation"] == "adapter"
    huggingface_hub = pytest.importorskip("huggingface_hub")
    parsed = huggingface_hub.ModelCard(model_card("npy", read_tuned(alone), HUB))
    assert parsed.data.base_model == HUB.name


def test_the_lines_name_the_revision(alone):
    card = model_card("peft", read_tuned(alone), HUB)
    assert f'from_pretrained("{HUB.name}", revision="main", dtype="auto")' in card


def test_the_notice_is_said_wherever_there_is_one(alone, change, tmp_path):
    assert "Note" not in card_of(alone, tmp_path, "npy")
    change(alone / "summary.json", "synthetic, without meaning", "notice")
    for form in WRITERS:
        assert "> **Note:** synthetic, without meaning\n" in card_of(alone, tmp_path, form)
    index = json.loads((tmp_path / "prompt_embeds" / "index.json").read_text())
    assert index["notice"] == "synthetic, without meaning"
    from safetensors import safe_open

    for file in ("peft/adapter_model.safetensors", "prompt_embeds/prompt_embeds.safetensors"):
        with safe_open(tmp_path / file, "np") as tensors:
            assert tensors.metadata()["jaxalign_notice"] == "synthetic, without meaning"


def test_the_verdict_of_an_evaluation_is_quoted(alone, tmp_path):
    verdict = ["It beats every baseline.", "It does not hold\nin other formats."]
    (alone / "evaluation.json").write_text(json.dumps({"verdict": verdict, "more": 1}))
    card = card_of(alone, tmp_path)
    assert "* It beats every baseline.\n* It does not hold in other formats.\n" in card
    assert "Not evaluated" not in card


def test_an_evaluation_of_another_prompt_is_left_out(alone, put_prompt, caplog, tmp_path):
    prompt_LD = read_soft_prompt(alone)
    digest = hashlib.sha256(prompt_LD.tobytes()).hexdigest()
    evaluation = {"verdict": ["It beats every baseline."], "prompt_sha256": digest}
    (alone / "evaluation.json").write_text(json.dumps(evaluation))
    assert "It beats" in card_of(alone, tmp_path) and not caplog.messages
    put_prompt(alone, prompt_LD + 1)
    assert "Not evaluated." in card_of(alone, tmp_path)
    assert "evaluation.json is of another prompt" in caplog.text


def test_answers_that_are_compared_have_a_row_for_each_item(alone, change, tmp_path):
    distances = {"constant": 40.0, "naive": 30.5, "best": None}
    item = {"text": "Trust?", "options": {"q1=1": "yes"}, "measure": "Wasserstein-1"}
    change(alone / "summary.json", {"q1": item | {"distance": distances}}, "items")
    change(alone / "summary.json", "distribution", "scoring")
    change(alone / "summary.json", "uniform answers", "baseline")
    place = alone / "summary.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | {"constant": None}))
    card = card_of(alone, tmp_path)
    rows = tables_of(card)
    assert rows["Trust?"] == ["40.0", "30.5", "–"] and "Power distance" not in rows
    assert "loss (mean distance, %)" in card and "uniform answers" in rows
    assert "Uniform answers: every option" in card and "C, the constant" not in card


def test_words_from_files_cannot_break_the_tables(alone, change, tmp_path):
    change(alone / "summary.json", "A | B\n# C", "dimension_names", "PDI")
    card = card_of(alone, tmp_path)
    assert "| A \\| B # C |" in card and "\n# C" not in card


def test_means_of_samples_and_other_objectives_are_told(alone, change, tmp_path):
    assert "* objective: survey\n" in card_of(alone, tmp_path)
    change(alone / "summary.json", {"draws": 100}, "rescored")
    change(alone / "summary.json", 2.5, "terms", "weights", "prompt_norm")
    change(alone / "summary.json", [50.0, 40.0], "constant")
    card = card_of(alone, tmp_path)
    assert "mean of 100 fresh samples" in card and "* objective: survey + 2.5 prompt_norm" in card
    assert "is 50, 40." in card


@pytest.mark.parametrize(
    "name,value,keys,said",
    [
        ("summary.json", None, ("strategy",), "KeyError: 'strategy'"),
        ("summary.json", None, ("loss", "naive"), "'naive'"),
        ("summary.json", "high", ("loss", "naive"), "high"),
        ("summary.json", [], ("scores",), "TypeError"),
        ("summary.json", "many", ("evaluations",), "many"),
        ("config.json", None, ("config", "model", "path"), "'path'"),
        ("config.json", [], ("config",), "config.json"),
        ("config.json", None, ("digests", "survey"), "'survey'"),
        ("evaluation.json", "good", ("verdict",), "verdict is not a list of sentences"),
        ("evaluation.json", [1], ("verdict",), "verdict is not a list of sentences"),
        ("evaluation.json", None, ("verdict",), "'verdict'"),
    ],
)
def test_a_spoilt_workdir_is_one_line(name, value, keys, said, alone, change, tmp_path):
    if name == "evaluation.json":
        (alone / name).write_text('{"verdict": []}')
    change(alone / name, value, *keys)
    with pytest.raises(UserError, match=rf"^{re.escape(str(alone))}: [^\n]*{said}[^\n]*$"):
        export(alone, "npy", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["summary.json", "config.json", "evaluation.json"])
@pytest.mark.parametrize("text", ["{", "[]", b"\xff"])
def test_an_unreadable_file_is_one_line(name, text, alone, tmp_path):
    (alone / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=name):
        export(alone, "npy", tmp_path / "out")


def test_a_prompt_of_another_model_is_refused(alone, put_prompt, tmp_path):
    put_prompt(alone, np.ones((3, 31), np.float32))
    with pytest.raises(UserError, match=r"prompt is 31 wide and its model .* 32; [^\n]*$"):
        export(alone, "peft", tmp_path / "out")
