"""Options at the end of a scale that stay there: answers, left out of the question, or missing."""

import copy
import dataclasses
import hashlib
import json

import jax.numpy as jnp
import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.prompts import parse_format, question_text
from jaxalign.survey import (
    instrument_digest,
    item_means,
    load_instrument,
    load_share_targets,
    make_scoring,
    null_baseline,
    parse_instrument,
    read_written,
    score_answers,
)

SCALE = {
    "options": ["good", "fair", "bad", "don't know", "no answer"],
    "labels": [1, 2, 3, 8, 9],
    "fixed": ["don't know", "no answer"],
}
RAW = {
    "name": "own",
    "title": "Own",
    "instruction": "Reply with the number.",
    "instructions": {"letters": "Reply with the letter."},
    "scales": {"quality": SCALE},
    "stems": {"how": "How is it?"},
    "items": [
        {"id": "a", "stem": "how", "scale": "quality", "text": "The road"},
        {"id": "b", "stem": "how", "scale": "quality", "text": "The school"},
    ],
    "dimensions": {"X": "difference"},
    "coefficients": {"main": {"X": {"a": 10, "b": -10}}},
}


def survey(fixed_as=None, **changes):
    raw = copy.deepcopy(RAW)
    scale = raw["scales"]["quality"]
    scale |= {"fixed_as": fixed_as} if fixed_as else {}
    for key, value in changes.pop("scale", {}).items():
        scale[key] = value
        if value is None:
            del scale[key]
    raw |= changes
    return parse_instrument({key: value for key, value in raw.items() if value is not None}, "own")


def asked(instrument, name):
    """The lines of options, and the label of each option that is an answer."""
    shown, item = parse_format(name), instrument.items[0]
    return question_text(instrument, item, shown).split("\n")[1:-2], shown.labels_of(item)


@pytest.mark.parametrize("fixed_as", [None, "answers", "missing"])
def test_fixed_options_stay_last_and_keep_their_labels(fixed_as):
    own = survey(fixed_as)
    further = () if fixed_as == "missing" else ("8", "9")
    last = ["8 = don't know", "9 = no answer"]
    assert asked(own, "identity") == (
        ["1 = good", "2 = fair", "3 = bad", *last],
        ("1", "2", "3", *further),
    )
    assert asked(own, "reversed") == (
        ["1 = bad", "2 = fair", "3 = good", *last],
        ("3", "2", "1", *further),
    )
    assert asked(own, "cyclic1") == asked(own, "cyclic4")
    assert asked(own, "cyclic1")[0] == ["1 = fair", "2 = bad", "3 = good", *last]
    lines, labels = asked(own, "reversed/letters")
    assert lines == ["A = bad", "B = fair", "C = good", "D = don't know", "E = no answer"]
    assert labels == ("C", "B", "A", *("D", "E")[: len(further)])


def test_options_that_are_left_out_are_not_offered():
    assert asked(survey("left_out"), "reversed") == (
        ["1 = bad", "2 = fair", "3 = good"],
        ("3", "2", "1"),
    )


@pytest.mark.parametrize("fixed_as", ["left_out", "missing"])
def test_nonresponse_has_no_value_and_no_part_in_a_score(fixed_as):
    scoring = make_scoring(survey(fixed_as), 50.0)
    assert scoring.values_QA.tolist() == [[1, 2, 3], [1, 2, 3]]
    answers_QA = jnp.array([[0.5, 0.25, 0.25], [0.0, 0.5, 0.5]])
    np.testing.assert_allclose(item_means(scoring, answers_QA), [1.75, 2.5])
    np.testing.assert_allclose(score_answers(scoring, answers_QA), [50 + 17.5 - 25])
    own = survey(fixed_as, scale={"values": [1, 3, 9]})
    assert make_scoring(own, 0.0).values_QA.tolist() == [[1, 3, 9], [1, 3, 9]]


def test_fixed_answers_count_as_they_did():
    plain, own = survey(scale={"fixed": None}), survey("answers")
    assert own.items[0] == dataclasses.replace(plain.items[0], fixed=2)
    np.testing.assert_array_equal(make_scoring(own).values_QA, make_scoring(plain).values_QA)


def test_uniform_answers_are_spread_over_what_counts():
    distribution = {"scoring": "distribution", "dimensions": None, "coefficients": None}
    own = survey("missing", **distribution)
    _, scores = null_baseline(own, make_scoring(own))
    np.testing.assert_allclose(scores, [100 / 3] * 6, rtol=1e-6)
    assert list(own.dimensions) == ["a=1", "a=2", "a=3", "b=1", "b=2", "b=3"]


def share_file(folder, *shares):
    rows = [f"SA,Saudi Arabia,{item},{option},{share},poll,2020" for item, option, share in shares]
    path = folder / "own.csv"
    path.write_text("\n".join(["code,country,item,option,share,source,year", *rows]))
    return str(path)


@pytest.mark.parametrize("fixed_as", ["left_out", "missing"])
def test_published_shares_of_nonresponse_are_left_out(tmp_path, fixed_as):
    own = survey(fixed_as, scoring="distribution", dimensions=None, coefficients=None)
    rows = [("a", "1", 0.3), ("a", "fair", 0.1), ("a", "8", 0.5), ("a", "No answer", 0.1)]
    name = share_file(tmp_path, *rows, ("b", "bad", 1))  # the second file has none of it
    scores = load_share_targets(name, own)["SA"].scores
    assert scores == {"a=1": 75, "a=2": 25, "a=3": 0, "b=1": 0, "b=2": 0, "b=3": 100}
    with pytest.raises(UserError, match="shares of SA for a are of nonresponse alone"):
        load_share_targets(share_file(tmp_path, ("a", "1", 0), ("a", "8", 1), ("b", "1", 1)), own)
    with pytest.raises(UserError, match=r"for a sum to 1\.5, not to 1"):
        load_share_targets(share_file(tmp_path, ("a", "1", 1), ("a", "8", 0.5), ("b", "1", 1)), own)


def test_nonresponse_that_is_written_is_a_refusal():
    item = survey("missing").items[0]
    for text in ("8", "Don't know", "9 = no answer", "9."):
        reading = read_written(text, item.labels, item.options, item.nonresponse)
        assert (reading.option, reading.kind) == (None, "refusal")
    assert read_written("2", item.labels, item.options, item.nonresponse).option == 1


def test_surveys_without_fixed_options_have_the_digest_that_they_had():
    old = load_instrument("vsm13")
    fields = "id stem text scale labels options values dimensions nominal".split()
    content = {field.name: getattr(old, field.name) for field in dataclasses.fields(old)}
    content["items"] = [{key: getattr(item, key) for key in fields} for item in old.items]
    text = json.dumps(content, sort_keys=True)
    assert instrument_digest(old) == hashlib.sha256(text.encode()).hexdigest()
    kinds = [survey(scale={"fixed": None}), *map(survey, ("answers", "left_out", "missing"))]
    assert len(set(map(instrument_digest, kinds))) == 4


@pytest.mark.parametrize(
    ("scale", "named"),
    [
        ({"fixed": ["bad"]}, "fixed must list the last options as they stand under options"),
        ({"fixed": []}, r"such as \[no answer\], not \[\]"),
        ({"fixed": "no answer"}, "not 'no answer'"),
        ({"fixed": 2}, "not 2"),
        ({"fixed": SCALE["options"][1:]}, "fixed must leave at least two options before"),
        ({"fixed_as": "skipped"}, "fixed_as 'skipped' is not one of answers, left_out, missing"),
        ({"fixed": None, "fixed_as": "missing"}, "fixed_as needs fixed, a list of the last"),
        (
            {"fixed_as": "missing", "values": [1, 2, 3, 8, 9]},
            "values must be a list of 3, one for each option that is an answer",
        ),
    ],
)
def test_what_is_wrong_with_fixed_options_is_told_in_one_line(scale, named):
    with pytest.raises(UserError, match=f"own: scales.quality.*{named}") as error:
        survey(scale=scale)
    assert len(str(error.value).splitlines()) == 1
