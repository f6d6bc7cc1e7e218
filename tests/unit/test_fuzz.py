"""Every reader takes whatever it is given: it reads it, or says in one line why not.

Each input is a good file with parts cut out, repeated or replaced. The nightly tier tries 10,000.
"""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import safetensors.numpy
from fake_evaluation import make_evaluation
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from paths import DATA
from tiers import NIGHTLY

from jaxalign.compare.methods import load_methods
from jaxalign.config import from_plain, recorded, to_plain
from jaxalign.errors import UserError
from jaxalign.files import read_json, read_pareto, read_run
from jaxalign.interchange import read_population, read_soft_prompt
from jaxalign.model import load_model, read_stop_ids
from jaxalign.prompts import describe_chat, load_texts, load_tokenizer
from jaxalign.report.comparison.histories import read_runs
from jaxalign.report.evidence.evaluation_file import read_evaluation
from jaxalign.status import describe
from jaxalign.survey import (
    load_instrument,
    load_quizzes,
    load_share_targets,
    load_targets,
    targets_path,
)
from jaxalign.survey.culturalbench_files import FIXTURE, _find

OPINIONS = load_instrument("example_opinions")
PIECES = [
    *(b"\x00", b"\xff", b"\n", b"\r", b'"', b"'", b",", b";", b"\t", b":", b"{", b"}", b"[", b"]"),
    *(
        b"- ",
        b"nan",
        b"NaN",
        b"1e999",
        b"-1",
        b"0",
        b"true",
        b"null",
        b"1_0",
        b"9" * 400,
        b"{{",
        b"}}",
    ),
    *(
        b"{%",
        b"%}",
        "é".encode(),
        "é".encode("latin-1"),
        b"\xef\xbb\xbf",
        b"*a",
        b"&a ",
        b"\x7f" * 8,
    ),
]
EDIT = st.tuples(
    st.floats(0, 1), st.integers(0, 40), st.one_of(st.sampled_from(PIECES), st.binary(max_size=8))
)


def spoilt(good: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    """Replace so many bytes from a place on by others, for each edit."""
    for place, count, new in edits:
        at = int(place * len(good))
        good = good[:at] + new + good[at + count :]
    return good


def small_gguf(path: Path) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    for add in (writer.add_context_length, writer.add_embedding_length, writer.add_block_count):
        add(16)
    writer.add_head_count(2)
    writer.add_tensor("token_embd.weight", np.zeros((8, 16), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_adapter(folder: Path, config: bytes, rows: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_bytes(config)
    (folder / "adapter_model.safetensors").write_bytes(rows)
    return folder


ROWS = safetensors.numpy.save({"prompt_embeddings": np.ones((2, 4), np.float32)})
MEMBERS = safetensors.numpy.save({"population": np.ones((3, 2, 4), np.float32)})
ADAPTER = b'{"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 2, "token_dim": 4}'


class Goods(dict[str, tuple[bytes, str, Callable[[Path], Any]]]):
    """For each reader a good file, its name, and the call that reads one by its path."""

    def __repr__(self) -> str:
        return "goods"  # Hypothesis shows it with what it has found


@pytest.fixture(scope="module")
def goods(tmp_path_factory, tiny_folder) -> Goods:
    """One for every reader."""
    folder = tmp_path_factory.mktemp("good")
    zipfile.ZipFile(DATA / "workdir-0.1.0.zip").extractall(folder)
    run = folder / "run"
    small_gguf(folder / "small.gguf")
    np.save(folder / "rows.npy", np.ones((2, 4), np.float32))
    (folder / "evaluation.json").write_text(json.dumps(make_evaluation()))
    tiny = shutil.copytree(tiny_folder, folder / "tiny")
    tokenizer = load_tokenizer(tiny)
    survey = Path(__file__).parents[2] / "jaxalign" / "survey" / "data"
    methods = "one: {search.strategy: SHADE}\ntwo: {outside: scipy}\n"
    histories = (
        "method,kind,country,seed,naive_loss,initial_loss,forward_equivalents,point,points,"
        "evaluations,best_loss\nDE,ours,SA,0,80.0,60.0,100.0,1,1,20,60.0\n"
    )
    texts = "personas: ['You are from {country}.']\nvalues: [a]\ncountries: {XX: Xanadu}\n"

    def beside(name: str, read: Callable[[Path], Any]) -> Callable[[Path], Any]:
        """Read a folder in which one file is replaced."""

        def call(path: Path) -> Any:
            whole = run if (run / name).exists() and name != "config.json" else tiny
            changed = shutil.copytree(whole, path.parent / "copy")
            shutil.copy(path, changed / name)
            return read(changed)

        return call

    def template(path: Path) -> None:
        tokenizer.chat_template = path.read_text(encoding="utf-8", errors="replace")
        describe_chat(tokenizer, "")

    def ask(folder: Path) -> None:
        describe_chat(load_tokenizer(folder), "")

    def read_whole(folder: Path) -> Any:
        return read_run(folder), describe(folder, 0.0)

    weights = (tiny / "model.safetensors").read_bytes()
    return Goods({
        "settings": (json.dumps(to_plain(from_plain({"country": "SA"}))).encode(), "c.json",
                     lambda path: from_plain(read_json(path))),
        "record": ((run / "config.json").read_bytes(), "config.json",
                   lambda path: recorded(read_json(path), path)),
        "survey": ((survey / "example_values.yaml").read_bytes(), "own.yaml",
                   lambda path: load_instrument(str(path))),
        "texts": (texts.encode(), "texts.yaml", lambda path: load_texts(str(path))),
        "methods": (methods.encode(), "m.yaml", lambda path: load_methods(str(path))),
        "targets": (targets_path("example_values").read_bytes(), "own.csv",
                    lambda path: load_targets(str(path), ("SELF", "CARE", "TRAD", "RISE"))),
        "shares": (targets_path("example_opinions").read_bytes(), "own.csv",
                   lambda path: load_share_targets(str(path), OPINIONS)),
        "easy": (_find(FIXTURE, "Easy", "").read_bytes(), "own.csv",
                 lambda path: load_quizzes(str(path))),
        "hard": (_find(FIXTURE, "Hard", "").read_bytes(), "own.csv",
                 lambda path: load_quizzes(str(path))),
        "prompt": (ROWS, "p.safetensors", lambda path: read_soft_prompt(path)),
        "array": ((folder / "rows.npy").read_bytes(), "p.npy", lambda path: read_soft_prompt(path)),
        "population": (MEMBERS, "p.safetensors", lambda path: read_population(path, "p", 2, 4)),
        "adapter": (ADAPTER, "a.json", lambda path: read_soft_prompt(
            write_adapter(path.parent / "adapter", path.read_bytes(), ROWS))),
        "weights": (weights, "model.safetensors",
                    beside("model.safetensors", lambda folder: load_model(folder, "float32"))),
        "model config": ((tiny / "config.json").read_bytes(), "config.json",
                         beside("config.json", lambda folder: load_model(folder, "float32"))),
        "stop ids": (b'{"eos_token_id": [1, 2]}', "generation_config.json",
                     beside("generation_config.json", read_stop_ids)),
        "tokenizer": ((tiny / "tokenizer.json").read_bytes(), "tokenizer.json",
                      beside("tokenizer.json", ask)),
        "tokenizer config": ((tiny / "tokenizer_config.json").read_bytes(),
                             "tokenizer_config.json", beside("tokenizer_config.json", ask)),
        "gguf": ((folder / "small.gguf").read_bytes(), "small.gguf",
                 lambda path: load_model(path, "float32")),
        "template": (tokenizer.chat_template.encode(), "t.jinja", template),
        "metrics": ((run / "metrics.jsonl").read_bytes(), "metrics.jsonl",
                    beside("metrics.jsonl", read_whole)),
        "summary": ((run / "summary.json").read_bytes(), "summary.json",
                    beside("summary.json", read_whole)),
        "heartbeat": ((run / "heartbeat.json").read_bytes(), "heartbeat.json",
                      beside("heartbeat.json", lambda folder: describe(folder, 0.0))),
        "pareto": (b"prompt,a,b\n0,1.5,2\n1,2.5,1\n", "pareto.csv",
                   lambda path: read_pareto(path.parent)),
        "histories": (histories.encode(), "histories.csv", read_runs),
        "evaluation": ((folder / "evaluation.json").read_bytes(), "evaluation.json",
                       lambda path: read_evaluation(path.parent)),
    })  # fmt: skip


READERS = (
    *("settings", "record", "survey", "texts", "methods", "targets", "shares", "easy", "hard"),
    *("prompt", "array", "population", "adapter", "weights", "model config", "stop ids", "gguf"),
    *("tokenizer", "tokenizer config", "template", "metrics", "summary", "heartbeat", "pareto"),
    *("histories", "evaluation"),
)
EXAMPLES = -(-(10_000 if NIGHTLY else 300) // len(READERS))


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("reader", READERS)
@settings(
    max_examples=EXAMPLES,
    deadline=20_000,  # milliseconds; nothing may hang
    suppress_health_check=list(HealthCheck),
    database=None,
    derandomize=not NIGHTLY,
)
@given(edits=st.lists(EDIT, min_size=1, max_size=4))
def test_whatever_is_read_ends_in_one_line(reader, goods, tmp_path_factory, edits):
    good, name, read = goods[reader]
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / name).write_bytes(spoilt(good, edits))
    try:
        read(folder / name)
    except UserError as error:
        assert str(error).strip() and len(str(error).splitlines()) == 1
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("reader", ["survey", "texts", "methods", "targets", "shares", "easy"])
def test_a_device_is_no_file(reader, goods, tmp_path):
    """/dev/zero would be read for ever."""
    _, name, read = goods[reader]
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(UserError, match="is a device, not a file"):
        read(tmp_path / name)


def test_each_good_file_is_read(goods, tmp_path):
    """Or the inputs above would all be refused for a reason of their own."""
    assert set(goods) == set(READERS)
    for reader, (good, name, read) in goods.items():
        if reader == "gguf":  # of sizes alone
            continue
        folder = tmp_path / reader
        folder.mkdir()
        (folder / name).write_bytes(good)
        read(folder / name)
