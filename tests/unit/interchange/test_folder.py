"""The folder of an export is whole or absent, and nothing else is ever overwritten."""

from pathlib import Path

import pytest

from jaxalign.errors import UserError
from jaxalign.interchange.folder import MARKER, write_export

FILES = {"README.md": b"one", "SA/deep.bin": b"two"}


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def content(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in tree(folder).items() if name != MARKER}


def test_it_is_written_again_only_where_it_differs(tmp_path):
    output = tmp_path / "new" / "out"
    assert write_export(output, FILES.items()) == list(FILES)
    assert content(output) == FILES
    inode = output.stat().st_ino
    write_export(output, FILES.items())
    assert output.stat().st_ino == inode and content(output) == FILES
    other = {"README.md": b"three"}
    write_export(output, other.items())
    assert content(output) == other
    assert [path.name for path in output.parent.iterdir()] == ["out"]


def test_a_missing_file_is_put_back(tmp_path):
    write_export(tmp_path / "out", FILES.items())
    (tmp_path / "out" / "README.md").unlink()
    write_export(tmp_path / "out", FILES.items())
    assert content(tmp_path / "out") == FILES


def test_an_empty_folder_and_a_link_are_taken(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to("out")
    write_export(tmp_path / "link", FILES.items())
    assert content(tmp_path / "out") == FILES and (tmp_path / "link").is_symlink()


def add_a_file(output: Path) -> None:
    (output / "SA" / "mine.txt").write_text("mine")


def change_the_card(output: Path) -> None:
    (output / "README.md").write_text("mine")


def lose_the_marker(output: Path) -> None:
    (output / MARKER).unlink()


def spoil_the_marker(output: Path) -> None:
    (output / MARKER).write_text("[]")


@pytest.mark.parametrize(
    "spoil,said",
    [
        (add_a_file, "SA/mine.txt was added or changed"),
        (change_the_card, "README.md was added or changed"),
        (lose_the_marker, "no earlier export"),
        (spoil_the_marker, "cannot be read"),
    ],
)
def test_what_no_export_wrote_stays(spoil, said, tmp_path):
    output = tmp_path / "out"
    write_export(output, FILES.items())
    spoil(output)
    before = tree(output)
    with pytest.raises(UserError, match=rf"^--output=[^\n]*{said}[^\n]*$"):
        write_export(output, [("README.md", b"three")])
    assert tree(output) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_is_no_output(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UserError, match="no earlier export"):
        write_export(tmp_path / "out", FILES.items())
    with pytest.raises(UserError, match="cannot be written"):
        write_export(tmp_path / "out" / "in", FILES.items())
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("earlier", [True, False])
def test_a_fault_on_the_way_leaves_what_was(earlier, tmp_path):
    output = tmp_path / "out"
    if earlier:
        write_export(output, FILES.items())

    def break_off():
        yield "README.md", b"three"
        raise UserError("the survey is gone")

    with pytest.raises(UserError, match="gone"):
        write_export(output, break_off())
    assert (content(output) == FILES) if earlier else not output.exists()
    assert not list(tmp_path.glob(".*"))
