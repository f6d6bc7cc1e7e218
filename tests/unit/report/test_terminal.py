"""The tables of the terminal: every number of the summary, in 80 columns, plain when piped."""

import pytest
from fake_run import NOTICE
from pages import printed

from jaxalign.report import print_header, print_result
from jaxalign.report.numbers import format_loss, format_score, format_seconds

FILES = [("runs/sa/summary.json", "scores and losses"), ("runs/sa/report/index.html", "the report")]


def test_the_result_shows_scores_losses_files_and_notice(summary: dict):
    text = printed(print_result, summary, FILES, NOTICE)
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}
    assert rows["PDI"] == ["95.0", "61.2", "94.1", "0.9"]
    assert rows["UAI"] == ["80.0", "112.3", "81.1", "1.1"]
    assert rows["IDV"] == ["25.0", "\N{MINUS SIGN}20.5", "26.3", "1.3"]
    assert rows["constant"] == ["answer", "126.0", "117%"]
    assert rows["naive"] == ["108.0", "100%"]
    assert rows["tuned"] == ["1.5", "1%"]
    assert rows["runs/sa/report/index.html"] == ["the", "report"]
    assert NOTICE in text


def test_80_columns_and_no_colour_codes_without_a_terminal(summary: dict):
    names = {"LTO": "long-term orientation", "UAI": "uncertainty avoidance"}
    for text in (
        printed(print_result, summary | {"dimension_names": names}, FILES, NOTICE),
        printed(print_header, {"model": "m", "trie": "a long value " * 12}, NOTICE),
    ):
        assert "\x1b" not in text
        assert all(len(line) <= 80 for line in text.splitlines())


def test_a_long_path_is_never_broken(summary: dict):
    path = "/a/rather/deep/folder/of/runs/that/someone/has/chosen/soft_prompt.safetensors"
    lines = printed(print_result, summary, [(path, "the tuned prompt")], None).splitlines()
    assert lines[lines.index(path) + 1] == "    the tuned prompt"


def test_values_are_text_and_never_markup():
    assert "[8, 128] [bold]" in printed(print_header, {"shape": "[8, 128] [bold]"}, None)


def test_missing_values_become_dashes(summary: dict):
    summary |= {"naive_scores": None, "loss": {"constant": None, "naive": None, "best": 3.0}}
    text = printed(print_result, summary, FILES, None)
    assert "–" in text
    assert "Note" not in text


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (format_loss, 126.0, "126.0"),
        (format_loss, 12345.67, "12,345.7"),
        (format_loss, 0.0, "0.0"),
        (format_loss, 0.01234, "0.012"),
        (format_loss, float("inf"), "–"),
        (format_loss, None, "–"),
        (format_score, -0.04, "0.0"),
        (format_score, -20.5, "\N{MINUS SIGN}20.5"),
        (format_score, float("nan"), "–"),
        (format_seconds, 59.6, "1:00"),
        (format_seconds, 3661, "1:01:01"),
        (format_seconds, None, "–"),
    ],
)
def test_numbers_are_written_alike_everywhere(function, value, text: str):
    assert function(value) == text
