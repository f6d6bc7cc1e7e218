"""Published scores: the packaged table and a user's own."""

import csv
from pathlib import Path

import pytest

from jaxalign.errors import UserError
from jaxalign.survey import find_target, load_targets, shuffled, targets_path

KEYS = ("PDI", "IDV", "MAS", "UAI", "LTO", "IVR")
HEADER = "code,country,PDI,IDV,MAS,UAI,LTO,IVR,source,year"
ROW = "XX,Xanadu,1,2.5,-3,104,5,6,a poem,1816"


def write(folder: Path, *lines: str, encoding: str = "utf-8") -> str:
    path = folder / "own.csv"
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return str(path)


def fault(name: str) -> str:
    with pytest.raises(UserError) as error:
        load_targets(name, KEYS)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def test_every_packaged_row_has_a_source_and_a_year():
    with targets_path("hofstede2010").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 47
    assert all(row["source"].strip() and row["year"].strip() for row in rows)
    assert {row["set"] for row in rows} == {"hofstede2010", "newer"}


@pytest.mark.parametrize(
    ("name", "country", "scores"),
    [
        ("hofstede2010", "SA", (95, 25, 60, 80, 36, 52)),
        ("hofstede2010", "CN", (80, 20, 66, 30, 87, 24)),
        ("hofstede2010", "IN", (77, 48, 56, 40, 51, 26)),
        ("hofstede2010", "US", (40, 91, 62, 46, 26, 68)),
        ("hofstede2010", "SK", (104, 52, 110, 51, 77, 28)),
        ("hofstede2010", "GR", (60, 35, 57, 112, 45, 50)),
        ("hofstede2010", "ARAB", (80, 38, 53, 68, 23, 34)),
        ("newer", "SA", (72, 48, 43, 64, 27, 14)),
        ("newer", "CN", (80, 43, 66, 30, 77, 24)),
        ("newer", "US", (40, 60, 62, 46, 50, 68)),
        ("newer", "BD", (80, 5, 55, 60, 38, 20)),
    ],
)
def test_known_values(name, country, scores):
    assert load_targets(name, KEYS)[country].scores == dict(zip(KEYS, scores, strict=True))


def test_scores_follow_the_survey_and_not_the_columns():
    scores = load_targets("newer", ("IVR", "PDI"))["SA"].scores
    assert list(scores.items()) == [("IVR", 14.0), ("PDI", 72.0)]


def test_a_country_that_one_set_lacks():
    assert "IN" in load_targets("hofstede2010", KEYS)
    assert "IN" not in load_targets("newer", KEYS)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])  # spreadsheets write the second
def test_a_users_own_file(tmp_path, encoding):
    targets = load_targets(write(tmp_path, HEADER, ROW, encoding=encoding), KEYS)
    assert list(targets) == ["XX"]
    assert tuple(targets["XX"].scores.values()) == (1, 2.5, -3, 104, 5, 6)
    assert (targets["XX"].source, targets["XX"].year) == ("a poem", "1816")


def test_the_packaged_table_can_be_handed_in_by_its_path(tmp_path):
    with pytest.raises(UserError, match="SA"):  # two sets in one file: each code has two rows
        load_targets(str(targets_path("newer")), KEYS)


def test_missing_columns_are_all_named(tmp_path):
    message = fault(write(tmp_path, "code,country,PDI,IDV,MAS,UAI,year", "XX,X,1,2,3,4,1816"))
    assert "LTO, IVR" in message or all(f" {key}" in message for key in ("LTO", "IVR"))
    assert "source" in message
    assert "PDI" not in message


@pytest.mark.parametrize("lines", [[], [HEADER]])
def test_a_file_without_rows(tmp_path, lines):
    assert "survey.targets=" in fault(write(tmp_path, *lines))


@pytest.mark.parametrize("value", ["many", "nan", "inf", "1,5", "1_5", "0x1"])
def test_a_score_that_is_no_number(tmp_path, value):
    assert "'XX'" in fault(write(tmp_path, HEADER, ROW.replace("2.5", f'"{value}"')))


@pytest.mark.parametrize("column", ["code", "country", "source", "year", "MAS"])
def test_an_empty_cell_is_named(tmp_path, column):
    cells = dict(zip(HEADER.split(","), ROW.split(","), strict=True)) | {column: " "}
    assert f"no {column} " in fault(write(tmp_path, HEADER, ",".join(cells.values())))


def test_decimal_commas_are_no_further_columns(tmp_path):
    """A row of eleven cells must not be read as eight, nor a quoted comma as a decimal point."""
    header = "code,country,SELF,CARE,TRAD,RISE,source,year"
    path = write(tmp_path, header, "DE,Germany,-0,60,0,45,0,90,-0,30,me,2020")
    with pytest.raises(UserError, match=r"row 2 has 12 cells .* 8; .* decimals with a point"):
        load_targets(path, ("SELF", "CARE", "TRAD", "RISE"))
    assert "'XX' has IDV '2,5', which is no number" in fault(
        write(tmp_path, HEADER, ROW.replace("2.5", '"2,5"'))
    )


def test_a_code_with_two_rows(tmp_path):
    assert "'XX' has two rows" in fault(write(tmp_path, HEADER, ROW, ROW.replace("XX", "xx")))


def test_an_unknown_set():
    message = fault("hofstede1980")
    assert "hofstede2010, newer" in message
    assert ".csv" in message


@pytest.mark.parametrize("name", ["nowhere.csv", "~no-such-user-here/own.csv"])
def test_a_file_that_is_not_there(name):
    assert "cannot read" in fault(name)


def test_a_folder_and_bytes_that_are_no_text(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    assert "cannot read" in fault(str(tmp_path / "folder.csv"))
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00c")
    assert "cannot read" in fault(str(tmp_path / "bytes.csv"))


@pytest.mark.parametrize("country", ["SA", "sa", "Saudi Arabia", "SAUDI ARABIA", "saudi arabia"])
def test_lookup_by_code_or_name_in_any_case(country):
    assert find_target(load_targets("newer", KEYS), country, "newer").code == "SA"


def test_an_unknown_country_lists_the_codes():
    targets = load_targets("newer", KEYS)
    with pytest.raises(UserError, match="country='IN': no target in newer") as error:
        find_target(targets, "IN", "newer")
    assert str(error.value).endswith("BD, CN, DE, ES, GB, GR, KR, PT, SA, TR, US")


def test_shuffled_scores_are_the_same_and_none_is_where_it_was():
    target = load_targets("hofstede2010", KEYS)["SA"]
    seen = set()
    for seed in range(1, 20):
        dealt = shuffled(target, seed)
        assert sorted(dealt.scores.values()) == sorted(target.scores.values())
        assert all(dealt.scores[key] != target.scores[key] for key in KEYS)
        assert dealt == shuffled(target, seed) and "shuffled" in dealt.source
        seen.add(tuple(dealt.scores.values()))
    assert len(seen) > 5
