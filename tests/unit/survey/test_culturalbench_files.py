"""CulturalBench-Hard, and where both formats come from: files, folders, the hub, the package."""

import http.server
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import ClassVar

import pyarrow
import pytest
from paths import ROOT
from pyarrow import parquet

from jaxalign.errors import UserError
from jaxalign.survey import load_quiz, load_quizzes, questions_for

EASY_HEADER = (
    "question_idx,prompt_question,prompt_option_a,prompt_option_b,prompt_option_c,"
    "prompt_option_d,answer,country"
)
EASY_ROW = '7,"What is brewed, and when?",tea,milk,sand,,A,Xanadu'
HARD_HEADER = "data_idx,question_idx,prompt_question,prompt_option,answer,country"
HARD_ROWS = (
    '28,7,"What is brewed, and when?",tea,True,Xanadu',
    '29,7,"What is brewed, and when?","milk, hot",False,Xanadu',
    '30,7,"What is brewed, and when?",sand,False,Xanadu',
    '31,7,"What is brewed, and when?",,False,Xanadu',
)
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SOURCE = f"kellycyy/CulturalBench@{COMMIT}"


def write(folder: Path, *lines: str, name: str = "hard.csv", encoding: str = "utf-8") -> str:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return str(path)


def fault(source: str, load=load_quizzes) -> str:
    with pytest.raises(UserError) as error:
        load(source)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


# The Hard format


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_hard_rows_as_published(tmp_path, encoding):
    path = write(tmp_path, HARD_HEADER, *HARD_ROWS, encoding=encoding)
    easy, hard = load_quizzes(path)
    assert easy is None
    assert [(row.id, row.option, row.answer) for row in hard.questions] == [
        ("28", "tea", True),
        ("29", "milk, hot", False),
        ("30", "sand", False),
    ]
    assert {(row.question, row.country, row.text) for row in hard.questions} == {
        ("7", "Xanadu", "What is brewed, and when?")
    }
    assert (hard.skipped_options, hard.source, hard.notice) == (1, path, None)


def test_rows_of_a_question_may_stand_apart(tmp_path):
    other = [row.replace(",7,", ",8,") for row in HARD_ROWS]
    mixed = [row for pair in zip(HARD_ROWS, other, strict=True) for row in pair]
    _, hard = load_quizzes(write(tmp_path, HARD_HEADER, *mixed))
    assert [row.question for row in hard.questions] == ["7"] * 3 + ["8"] * 3


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("False", "B", "row 3: answer 'B' is not True or False"),
        ("False", "false", "row 3: answer 'false' is not True or False"),
        ("False", "", "row 3 has no answer"),
        ("29,7", ",", "row 3 has no data_idx, question_idx"),
        ("Xanadu", "Peru", "row 3: question_idx '7' is on Peru here and on Xanadu before"),
        ('"milk, hot"', "milk, hot", "row 3 has 7 cells where the header has 6"),
        ("29,7", "29,8", "question_idx '7' has 3 rows; CulturalBench-Hard has 4"),
    ],
)
def test_a_fault_of_a_hard_file(tmp_path, old, new, said):
    rows = [HARD_ROWS[0], HARD_ROWS[1].replace(old, new), *HARD_ROWS[2:]]
    path = write(tmp_path, HARD_HEADER, *rows)
    message = fault(path)
    assert message.startswith(path) and said in message


def test_a_question_of_empty_options_alone(tmp_path):
    rows = [row.replace(",tea,", ",,") for row in HARD_ROWS[:1]] + [HARD_ROWS[3]] * 3
    assert "empty options only" in fault(write(tmp_path, HARD_HEADER, *rows))


def test_a_hard_file_is_not_enough_for_the_objective(tmp_path):
    path = write(tmp_path, HARD_HEADER, *HARD_ROWS)
    assert "lacks the columns prompt_option_a" in fault(path, load_quiz)
    assert "lacks the columns country of CulturalBench-Hard" in fault(
        write(tmp_path, *(line.rsplit(",", 1)[0] for line in (HARD_HEADER, *HARD_ROWS)))
    )


# Files and folders


def test_a_folder_holds_both_or_one(tmp_path):
    write(tmp_path, EASY_HEADER, EASY_ROW, name="CulturalBench-Easy.csv")
    easy, hard = load_quizzes(str(tmp_path))
    assert hard is None and load_quiz(str(tmp_path)) == easy
    assert (easy.questions[0].options, easy.skipped_options) == (("tea", "milk", "sand"), 1)
    write(tmp_path, HARD_HEADER, *HARD_ROWS, name="CulturalBench-Hard.csv")
    assert len(load_quizzes(str(tmp_path))[1].questions) == 3
    (tmp_path / "CulturalBench-Easy.csv").unlink()
    assert load_quizzes(str(tmp_path))[0] is None
    assert "no CulturalBench-Easy.csv" in fault(str(tmp_path), load_quiz)
    assert "no CulturalBench-Hard.csv" in fault(str(tmp_path / ".."))


def test_parquet_reads_as_the_csv(tmp_path):
    texts = {"prompt_question": ["What is brewed, and when?"] * 4, "country": ["Xanadu"] * 4}
    # Numbers, truth values and nulls, as pandas and the hub's converter write them.
    hard = pyarrow.table(
        {
            "data_idx": [28, 29, 30, 31],
            "question_idx": [7] * 4,
            "prompt_option": ["tea", "milk, hot", "sand", None],
            "answer": [True, False, False, False],
            **texts,
        }
    )
    parquet.write_table(hard, tmp_path / "CulturalBench-Hard.parquet")
    easy = pyarrow.table(
        {
            "question_idx": [7],
            "prompt_question": ["What is brewed, and when?"],
            "prompt_option_a": ["tea"],
            "prompt_option_b": ["milk"],
            "prompt_option_c": ["sand"],
            "prompt_option_d": pyarrow.array([float("nan")]),
            "answer": ["A"],
            "country": ["Xanadu"],
        }
    )
    parquet.write_table(easy, tmp_path / "CulturalBench-Easy.parquet")
    from_parquet = load_quizzes(str(tmp_path))
    write(tmp_path, EASY_HEADER, EASY_ROW, name="CulturalBench-Easy.csv")
    write(tmp_path, HARD_HEADER, *HARD_ROWS, name="CulturalBench-Hard.csv")
    from_csv = load_quizzes(str(tmp_path))
    for one, other in zip(from_parquet, from_csv, strict=True):
        assert one.questions == other.questions and one.skipped_options == other.skipped_options
        assert one.source.endswith(".parquet") and other.source.endswith(".csv")


@pytest.mark.parametrize("data", [b"", b"PAR1\xff\xfe\x00c", b"question_idx,answer\n7,A\n"])
def test_what_is_no_parquet(tmp_path, data):
    (tmp_path / "easy.parquet").write_bytes(data)
    assert "cannot read it (" in fault(str(tmp_path / "easy.parquet"))
    assert "cannot read it (No such file" in fault(str(tmp_path / "other.parquet"))


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    message = fault(str(tmp_path / "easy.parquet"))
    assert "install jaxalign[parquet] or give the CSV" in message


def test_messages_name_the_setting_they_are_about():
    with pytest.raises(UserError, match=r"^evaluation\.culturalbench='nowhere\.csv': cannot read"):
        load_quizzes("nowhere.csv", key="evaluation.culturalbench")


# The hub


@pytest.mark.parametrize(
    "source",
    [
        "kellycyy/CulturalBench",
        "kellycyy/CulturalBench@",
        "kellycyy/CulturalBench@main",
        f"kellycyy/CulturalBench@{COMMIT[:7]}",
        f"kellycyy/CulturalBench@{COMMIT.upper()}",
        f"a/b@{COMMIT}/c",
    ],
)
def test_the_hub_is_never_read_unpinned(source):
    for load in (load_quiz, load_quizzes):
        assert "only a pinned commit is read" in fault(source, load)


READ = """
import sys
from jaxalign.errors import UserError
from jaxalign.survey import load_quizzes
try:
    for quiz in load_quizzes(sys.argv[1]):
        print(quiz.source, len(quiz.questions), quiz.skipped_options)
except UserError as error:
    print("UserError:", error)
"""


def read(source: str, **environment: str) -> str:
    """In a process of its own, because the hub's library reads its settings at import."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    settings = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", READ, source],
        env=kept | settings | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class _Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub as one public data set at one commit needs."""

    files: ClassVar[dict[str, bytes]] = {}

    def do_GET(self):
        repository, _, rest = self.path.removeprefix("/datasets/").partition("/resolve/")
        commit, _, name = rest.partition("/")
        if repository != "kellycyy/CulturalBench":
            return self._answer(404, b"", {"X-Error-Code": "RepoNotFound"})
        if commit != COMMIT:
            return self._answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
        if name not in self.files:
            return self._answer(404, b"", {"X-Error-Code": "EntryNotFound"})
        data = self.files[name]
        return self._answer(200, data, {"ETag": f'"{len(data):040x}"'})

    do_HEAD = do_GET

    def _answer(self, status, body, headers):
        self.send_response(status)
        headers = {"X-Repo-Commit": COMMIT, "Content-Length": str(len(body))} | headers
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hub(tmp_path):
    _Hub.files = {
        "CulturalBench-Easy.csv": f"{EASY_HEADER}\n{EASY_ROW}\n".encode(),
        "CulturalBench-Hard.csv": "\n".join((HARD_HEADER, *HARD_ROWS)).encode(),
    }
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HUB_CACHE": str(tmp_path / "cache"),
    }
    server.shutdown()
    server.server_close()


def test_a_commit_is_fetched_once_and_then_read_offline(hub):
    seen = f"{SOURCE} 1 1\n{SOURCE} 3 1"
    assert read(SOURCE, HF_HUB_OFFLINE="1", **hub).startswith("UserError: objective.culturalbench=")
    assert read(SOURCE, **hub) == seen
    assert read(SOURCE, HF_HUB_OFFLINE="1", **hub) == seen


def test_what_the_hub_does_not_have(hub):
    del _Hub.files["CulturalBench-Hard.csv"]
    for source, said in (
        (f"kellycyy/CulturalBench@{'f' * 40}", "no such commit"),
        (f"kellycyy/Nothing@{COMMIT}", "no data set kellycyy/Nothing"),
        (SOURCE, "has no CulturalBench-Hard.csv at this commit"),
    ):
        message = read(source, **hub)
        assert message.startswith("UserError:") and said in message, message
        assert len(message.splitlines()) == 1
    _Hub.files["CulturalBench-Hard.csv"] = f"{HARD_HEADER}\n1,2\n".encode()
    # By its commit, not by its place in the cache.
    assert read(SOURCE, **hub).startswith(f"UserError: {SOURCE}: row 2 has 2 cells")


# The fixture


def test_the_fixture_asks_the_same_questions_in_both_formats():
    easy, hard = load_quizzes("fixture")
    assert easy == load_quiz("fixture")
    assert hard.fixture and hard.notice == easy.notice and "fixture" in hard.notice
    assert hard.skipped_options == easy.skipped_options == 1
    rows = iter(hard.questions)
    for question in easy.questions:
        for index, option in enumerate(question.options):
            row = next(rows)
            assert (row.question, row.country, row.text, row.option, row.answer) == (
                question.id,
                question.country,
                question.text,
                option,
                index == question.right,
            )
    assert next(rows, None) is None
    assert len(questions_for(hard, "USA")) == 16
    assert all(row.id.startswith("fixture-") for row in hard.questions)
