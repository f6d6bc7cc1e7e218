"""One reader of rows: a CSV file is read whole, or refused with what it is."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxalign.errors import UserError
from jaxalign.files import read_table, to_csv
from jaxalign.survey import load_instrument, load_quiz, load_share_targets, load_targets

GOOD = "code,score\nSA,1.5\n"
PLAIN = st.text(st.characters(exclude_categories=("C", "Z"))).filter(bool)
READERS = {
    "targets": lambda path: load_targets(path, ("SELF",)),
    "shares": lambda path: load_share_targets(path, load_instrument("example_opinions")),
    "quiz": load_quiz,
}


def read(folder: Path, content: str | bytes) -> list[tuple[int, dict[str, str]]]:
    path = folder / "own.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, "own.csv")


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        GOOD.replace("\n", "\r\n"),
        "\ufeff" + GOOD,
        "code , score\nSA,1.5",
        GOOD + ",\n,\n , \n\n",  # as spreadsheets leave cells that were emptied
        "code,score,,\nSA,1.5,,\n,,,\n",
        'code,score\n"SA","1.5"\n',
    ],
)
def test_what_spreadsheets_write_is_read(tmp_path, content):
    assert read(tmp_path, content) == [(2, {"code": "SA", "score": "1.5"})]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "code,score\nSA,1,5\n",
            "row 2 has 3 cells where the header has 2; put cells with a comma",
        ),
        ("code,score\nSA,1.5,,x\n", "row 2 has 4 cells"),
        ("code,score\nSA\n", "row 2 has 1 cells where the header has 2; give each column a cell"),
        ("code;score\nSA;1,5\n", "separated by semicolons; separate them by commas, and write dec"),
        ("sep=;\ncode;score\nSA;1\n", "separated by semicolons"),
        ("code\tscore\nSA\t1.5\n", "separated by tabs"),
        (
            "code,score\nSA,1\nTürkiye,2\n".encode("latin-1"),
            "line 3: byte 0xfc is not UTF-8; save the file as CSV UTF-8",
        ),
        (GOOD.encode("utf-16"), "byte 0xff is not UTF-8"),
        ("code,code\nSA,1\n", "row 1 has the column 'code' twice"),
        ('code,score\n"SA,1\n', "cannot read it as CSV"),
    ],
)
def test_what_is_none_is_named(tmp_path, content, said):
    with pytest.raises(UserError) as error:
        read(tmp_path, content)
    assert str(error.value).startswith("own.csv: ") and said in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("content", [b"a,b\n1,2,3\n", b"a;b\n1;2\n", b"a,b\n1,\xe9\n"])
def test_every_reader_of_rows_refuses_alike(tmp_path, reader, content):
    path = tmp_path / "own.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"own\.csv: .*(row 2 has 3 cells|semicolons|0xe9)"):
        READERS[reader](str(path))


@given(st.lists(st.tuples(PLAIN, PLAIN, PLAIN)))
def test_rows_come_back_as_they_were_written(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "rows.csv"
    path.write_bytes(to_csv([("a", "b", "c"), *rows]))
    expected = [(number, dict(zip("abc", row, strict=True))) for number, row in enumerate(rows, 2)]
    assert read_table(path, "rows.csv") == expected
