"""A user's survey file: read whole, or refused with every fault in one line."""

import copy
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxalign.errors import UserError
from jaxalign.survey import load_instrument, make_scoring, parse_instrument

GOOD: dict[str, Any] = {
    "name": "own",
    "title": "一项调查",
    "language": "zh",
    "validated": True,
    "instruction": "请只回答一个选项的编号。",
    "scales": {
        "importance": ["极其重要", "很重要", "一般", "不太重要", "不重要"],
        "assent": {
            "options": ["同意", "中立", "不同意"],
            "labels": ["A", "B", "C"],
            "values": [1, 3, 5],
        },
    },
    "stems": {"job": "请想象一份理想的工作。", "view": "您同意吗？"},
    "items": [
        {"id": "a1", "stem": "job", "scale": "importance", "text": "有足够的时间陪伴家人"},
        {"id": "a2", "stem": "view", "scale": "assent", "text": "规则不可违反"},
        {"id": "a3", "stem": "view", "scale": "assent", "text": "坚持不懈"},
    ],
    "dimensions": {"X": "甲", "Y": "乙"},
    "coefficients": {"main": {"X": {"a1": 35, "a2": -35}, "Y": {"a2": 1.5, "a3": -1.5}}},
}


def changed(*path: Any, to: Any) -> dict[str, Any]:
    """The good file with one value replaced."""
    raw = copy.deepcopy(GOOD)
    place: Any = raw
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return raw


def fault(raw: Any) -> str:
    with pytest.raises(UserError) as error:
        parse_instrument(raw, "own.yaml")
    message = str(error.value)
    assert len(message.splitlines()) == 1
    assert message.startswith("own.yaml: ")
    return message


def load_fault(name: str) -> str:
    with pytest.raises(UserError) as error:
        load_instrument(name)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


@pytest.mark.parametrize("allow_unicode", [True, False])
def test_a_users_file_comes_back_whole(tmp_path, allow_unicode):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(GOOD, allow_unicode=allow_unicode), encoding="utf-8")
    own = load_instrument(str(path))
    assert (own.name, own.title, own.language, own.validated) == ("own", "一项调查", "zh", True)
    assert own.instruction == GOOD["instruction"]
    first, second, _ = own.items
    assert (first.stem, first.text) == ("请想象一份理想的工作。", "有足够的时间陪伴家人")
    assert first.options == tuple(GOOD["scales"]["importance"])
    assert (first.labels, first.values) == (("1", "2", "3", "4", "5"), (1, 2, 3, 4, 5))
    assert (second.labels, second.values) == (("A", "B", "C"), (1, 3, 5))
    assert [item.dimensions for item in own.items] == [("X",), ("X", "Y"), ("Y",)]
    assert own.dimensions == {"X": "甲", "Y": "乙"}
    assert own.coefficients == GOOD["coefficients"]
    scoring = make_scoring(own, 0.0)
    assert scoring.values_QA.tolist() == [[1, 2, 3, 4, 5], [1, 3, 5, 0, 0], [1, 3, 5, 0, 0]]
    assert scoring.weights_CQ.tolist() == [[35, -35, 0], [0, 1.5, -1.5]]


@pytest.mark.parametrize("value", [3.5e38, float("nan"), float("inf"), 10**400, True, "1"])
def test_a_value_is_a_number_that_float32_holds(value):
    message = fault(changed("scales", "assent", "values", 0, to=value))
    assert "scales.assent: values must be finite numbers" in message


def test_a_home_folder_in_the_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(GOOD), encoding="utf-8")
    assert load_instrument("~/own.yaml").name == "own"


def test_what_may_be_left_out():
    raw = {key: value for key, value in GOOD.items() if key not in ("language", "validated")}
    own = parse_instrument(raw, "own.yaml")
    assert (own.language, own.validated) == ("en", False)


def test_numbers_as_keys_are_read_as_texts():
    raw = changed("dimensions", to={1: "one"})
    raw["coefficients"] = {2013: {1: {"a1": 1, "a2": 1, "a3": -2}}}
    own = parse_instrument(raw, "own.yaml")
    assert own.coefficients == {"2013": {"1": {"a1": 1, "a2": 1, "a3": -2}}}
    assert make_scoring(own, 0.0).weights_CQ.tolist() == [[1, 1, -2]]


def test_ten_faults_are_all_named_in_one_line():
    raw = copy.deepcopy(GOOD)
    del raw["title"]
    raw["colour"] = "red"
    raw["validated"] = "perhaps"
    raw["scales"]["assent"]["labels"] = ["A", "B"]
    raw["scales"]["importance"] = ["only one"]
    raw["items"][0]["stem"] = "jobs"
    raw["items"][1]["scale"] = "assents"
    raw["items"][2]["text"] = 7
    raw["items"].append({"id": "a1", "stem": "job", "scale": "importance", "text": "again"})
    raw["dimensions"]["Z"] = "third"
    raw["coefficients"]["main"]["X"]["b9"] = 2
    raw["items"].append({"id": "a4", "stem": "job", "scale": "importance", "text": "unused"})
    message = fault(raw)
    for named in (
        "key 'title' is missing",
        "unknown key 'colour'",
        "validated must be true or false, not 'perhaps'",
        "scales.assent: labels must be a list of 3",
        "scales.importance needs at least two options",
        "item a1: stem 'jobs' is not one of job, view",
        "item a2: scale 'assents' is not one of importance, assent",
        "item a3: text must be a text, not 7",
        "item a1 appears twice",
        "coefficients.main: Z has no formula",
        "coefficients.main.X: there is no item 'b9'",
        "item a4: no dimension uses it",
    ):
        assert named in message
    assert message.count(";") == 11


INF = float("inf")


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        (None, "expected a mapping"),
        ([GOOD], "expected a mapping"),
        ({}, "key 'coefficients' is missing"),
        (changed("name", to=" "), "name must be a text"),
        (changed("language", to=None), "language must be a text"),
        (changed("instruction", to=["a"]), "instruction must be a text"),
        (changed("stems", to={}), "stems must be a mapping"),
        (changed("stems", "job", to=3), "stems.job must be a text"),
        (changed("scales", to=[]), "scales must be a mapping"),
        (changed("scales", "assent", to="yes or no"), "scales.assent must be a list"),
        (changed("scales", "assent", "options", to="ABC"), "scales.assent must be a list"),
        (changed("scales", "assent", "options", 1, to=True), "every option must be a text"),
        (changed("scales", "assent", "labels", to=["A", "B", "A"]), "labels must differ"),
        (changed("scales", "assent", "labels", to=["A", "B", " A"]), "labels must differ"),
        (changed("scales", "assent", "labels", to=["A", "B", ""]), "labels must be whole numbers"),
        (
            changed("scales", "assent", "labels", to=["A", "B", None]),
            "labels must be whole numbers",
        ),
        (changed("scales", "assent", "labels", to=["A", True, False]), "in quotes: yes, no"),
        (changed("scales", "assent", "values", to=[1, 2]), "values must be a list of 3"),
        (changed("scales", "assent", "values", to=[1, 2, "3"]), "values must be finite numbers"),
        (changed("scales", "assent", "values", to=[1, 2, INF]), "values must be finite numbers"),
        (changed("scales", "assent", "values", to=[1, 2, True]), "values must be finite numbers"),
        (changed("scales", "assent", "value", to=[1, 2, 3]), "scales.assent: unknown key 'value'"),
        (changed("items", to=None), "items must be a list"),
        (changed("items", to=[]), "items must be a list"),
        (changed("items", 1, to="a2"), "item number 2 must be a mapping with an 'id'"),
        (changed("items", 1, "id", to=2), "item number 2: id must be a text, not 2: put it"),
        (changed("items", 1, "stem", to=["job"]), "item a2: stem ['job'] is not one of job, view"),
        (changed("items", 1, "scale", to={}), "item a2: scale {} is not one of"),
        (changed("items", 1, "note", to="x"), "item a2: unknown key 'note'"),
        (changed("items", 1, 5, to="x"), "item a2: unknown key 5"),
        (changed("dimensions", "X", to=None), "dimensions.X must be a text"),
        (changed("coefficients", to={}), "coefficients must be a mapping"),
        (changed("coefficients", "main", to=[]), "coefficients.main must be a mapping"),
        (changed("coefficients", "main", "W", to={"a1": 1}), "W is not under dimensions"),
        (changed("coefficients", "main", "X", to={}), "coefficients.main.X must map"),
        (changed("coefficients", "main", "X", "a1", to="35"), "coefficients.main.X must map"),
        (changed("coefficients", "main", "X", "a1", to=INF), "coefficients.main.X must map"),
        (changed("coefficients", "main", "X", "a1", to=10**400), "coefficients.main.X must map"),
        (changed("coefficients", "main", "a\nb", to=0), "coefficients.main.a b must map"),
    ],
)
def test_a_single_fault_is_named(raw, named):
    assert named in fault(raw)


def test_a_missing_key_of_an_item():
    raw = copy.deepcopy(GOOD)
    del raw["items"][0]["scale"]
    assert "item a1: missing key 'scale'" in fault(raw)


def test_a_scale_named_by_a_number():
    raw = changed("scales", 5, to=["a", "b"])
    raw["items"][0]["scale"] = 6
    assert "item a1: scale 6 is not one of importance, assent, 5" in fault(raw)


@pytest.mark.parametrize("name", ["nowhere.yaml", "", "~no-such-user-here/own.yaml"])
def test_a_path_that_cannot_be_read(name):
    assert f"survey.instrument={name!r}: cannot read it" in load_fault(name)


def test_a_folder_and_bytes_that_are_no_text(tmp_path):
    assert "cannot read it" in load_fault(str(tmp_path))
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00c")
    assert "cannot read it" in load_fault(str(tmp_path / "bytes.yaml"))


@pytest.mark.parametrize(
    "text",
    [
        "a: [1, 2",
        "a: b: c",
        "? [1]\n: 2",
        "!!python/object/apply:os.getcwd []",
        "day: 2024-13-45",
        "number: !!int twelve",
        "[" * 3000,
        "!!map [a]",
        "scales: {s: [a, b], t: [c, d], s: [e, f]}",
    ],
)
def test_what_is_not_valid_yaml(tmp_path, text):
    path = tmp_path / "own.yaml"
    path.write_text(text, encoding="utf-8")
    assert "own.yaml: not valid YAML" in load_fault(str(path))


def test_a_key_that_stands_twice_is_named(tmp_path):
    text = yaml.safe_dump(GOOD, allow_unicode=True, default_flow_style=True)
    path = tmp_path / "own.yaml"
    path.write_text(text.replace("a1: 35, a2: -35", "a1: 35, a1: -35"), encoding="utf-8")
    assert "key 'a1' appears twice" in load_fault(str(path))


def test_an_empty_file(tmp_path):
    (tmp_path / "own.yaml").write_text("", encoding="utf-8")
    assert "expected a mapping" in load_fault(str(tmp_path / "own.yaml"))


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=4),
    st.dates(),
    st.sampled_from(["a1", "X", "job", "assent", "a\nb"]),
)
KEYS = st.one_of(
    st.sampled_from(["id", "stem", "scale", "text", "options", "labels", "values", "main", "X"]),
    st.integers(),
    st.none(),
    st.text(max_size=3),
)
JUNK = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def places(raw: Any, path: tuple = ()) -> list[tuple]:
    inner = (
        raw.items() if isinstance(raw, dict) else enumerate(raw) if isinstance(raw, list) else ()
    )
    return [(*path, key) for key, _ in inner] + [
        place for key, value in inner for place in places(value, (*path, key))
    ]


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from([*GOOD, "else"]) | KEYS, JUNK, max_size=10) | JUNK)
def test_junk_raises_only_user_errors(raw):
    message = fault(raw)
    assert len(message.splitlines()) == 1


@settings(max_examples=250, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(places(GOOD)), JUNK), min_size=1, max_size=3))
def test_junk_anywhere_in_a_good_file_raises_only_user_errors(changes):
    raw = copy.deepcopy(GOOD)
    for path, value in changes:
        place: Any = raw
        try:
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change removed the place
    try:
        make_scoring(parse_instrument(raw, "own.yaml"), 50.0)
    except UserError as error:
        assert len(str(error).splitlines()) == 1
