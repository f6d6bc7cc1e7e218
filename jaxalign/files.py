"""Files of a workdir: reading with clear errors, and writing that never leaves half a file."""

import contextlib
import csv
import dataclasses
import errno
import functools
import io
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from jaxalign.errors import UserError

FORMAT = 1  # of all files of a workdir; a change that older versions would misread raises it


@dataclasses.dataclass(frozen=True)
class RunFiles:
    """What a finished run left in its workdir.

    Attributes:
      config: the content of config.json.
      records: one per generation, as in metrics.jsonl.
      summary: the content of summary.json.
    """

    config: dict[str, Any]
    records: tuple[dict[str, Any], ...]
    summary: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class ParetoTable:
    """The Pareto front of all candidates seen, as in pareto.csv.

    Attributes:
      names: of the objectives.
      values: of each prompt, in the order of the names; lower is better.
    """

    names: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]

    def rows(self) -> list[dict[str, float]]:
        """Return the values of each prompt by the name of the objective."""
        return [dict(zip(self.names, values, strict=True)) for values in self.values]


def local_path(typed: str, name: str) -> Path:
    """Return the path of this machine that a user typed for the flag `name`, with ~ expanded.

    Raises:
      UserError: it is the address of a bucket or of a server, or of a user who is not there.
    """
    path = os.path.expanduser(typed)
    if re.match(r"[a-zA-Z][\w+.-]*:/", path):
        raise UserError(
            f"{name}={typed} must be a folder of this machine: mount the bucket, and give the "
            "folder where it is mounted"
        )
    if path.startswith("~"):
        raise UserError(f"{name}={typed}: there is no user {path.partition('/')[0][1:]!r} here")
    return Path(re.sub("^//+", "/", path))  # of two slashes tensorstore makes a server's name


def read_run(
    workdir: Path, needed: Sequence[str] = ("country", "loss", "scores", "target")
) -> RunFiles:
    """Read config.json, metrics.jsonl and a summary.json that has the keys that are needed.

    Raises:
        UserError: a file is missing, unreadable or lacks what a report needs.
    """
    config = read_json(workdir / "config.json")
    summary = read_json(workdir / "summary.json")
    for key in needed:
        if key not in summary:
            raise UserError(f"{workdir / 'summary.json'}: the key {key!r} is missing")
    path = workdir / "metrics.jsonl"
    records = []
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        record = _parse(line, f"{path}: line {number}")
        if "evaluations" not in record or "best_loss" not in record:
            raise UserError(f"{path}: line {number} has no evaluations or no best_loss")
        records.append(record)
    if not records:
        raise UserError(f"{path}: holds no generation; run jaxalign.train on this workdir first")
    return RunFiles(config, tuple(records), summary)


def read_pareto(workdir: Path) -> ParetoTable | None:
    """Read pareto.csv; return None if there is none.

    Raises:
        UserError: the file is unreadable or not a table of numbers.
    """
    path = workdir / "pareto.csv"
    if not path.exists():
        return None
    header, *rows = csv.reader(_read_text(path).splitlines() or [""])
    if len(header) < 3 or header[0] != "prompt":
        raise UserError(f"{path}: line 1 is not prompt and two or more objectives")
    values = []
    for number, row in enumerate(rows, start=2):
        try:
            value = tuple(map(float, row[1:]))
        except ValueError:
            value = ()
        if len(row) != len(header) or not all(map(math.isfinite, value)) or not value:
            raise UserError(f"{path}: line {number} is not {len(header)} numbers")
        values.append(value)
    return ParetoTable(tuple(header[1:]), tuple(values))


def read_bytes(path: Path) -> bytes:
    """Return the content of a file that a user named.

    Raises:
      OSError: it cannot be read, or is a device, which may have no end.
    """
    if path.is_char_device() or path.is_block_device():
        raise OSError(errno.EINVAL, "it is a device, not a file")
    return path.read_bytes()


def read_table(path: Path, where: str) -> list[tuple[int, dict[str, str]]]:
    """Read a CSV file: each row's number, as a spreadsheet counts, and its cells by column.

    Rows and columns at the end that are empty, as spreadsheets leave them, are left out.

    Args:
        path: of the file.
        where: names it in messages.

    Raises:
        OSError: the file cannot be opened.
        UserError: it is not UTF-8 or not separated by commas, or a row does not fit the header.
    """
    content = read_bytes(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{where}: cannot read line {line}: byte 0x{content[error.start]:02x} is not UTF-8; "
            "save the file as CSV UTF-8"
        ) from None
    top = text.partition("\n")[0]
    for sign, name in ((";", "semicolons"), ("\t", "tabs")):
        if top.count(sign) > top.count(","):
            raise UserError(
                f"{where}: its cells are separated by {name}; separate them by commas, and write "
                "decimals with a point"
            )
    try:
        header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True) if text else ([],)
    except csv.Error as error:
        raise UserError(f"{where}: cannot read it as CSV ({error})") from None
    names = [cell.strip() for cell in header]
    while names and not names[-1]:
        names.pop()
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"{where}: row 1 has the column {twice[0]!r} twice")
    numbered = []
    for number, cells in enumerate(rows, 2):
        if not any(map(str.strip, cells)):
            continue
        while len(cells) > len(names) and not cells[-1].strip():
            cells.pop()
        if len(cells) != len(names):
            mend = "put cells with a comma in quotes, and write decimals with a point"
            raise UserError(
                f"{where}: row {number} has {len(cells)} cells where the header has {len(names)}; "
                + (mend if len(cells) > len(names) else "give each column a cell")
            )
        numbered.append((number, dict(zip(names, cells, strict=True))))
    return numbered


def write_file(path: Path, content: bytes) -> None:
    """Write under a temporary name beside the path, then rename.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            temporary.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Make a UserError that names the path of whatever the file system refuses in a block."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all, with the version of its format."""
    text = json.dumps({"format": FORMAT} | value, indent=2, allow_nan=False)
    write_file(path, f"{text}\n".encode())


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file whole or not at all, None as an empty cell."""
    write_file(path, to_csv([columns, *rows]))


def to_csv(rows: Iterable[Sequence[Any]]) -> bytes:
    """Return rows as the lines of a CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def explain(path: Path | str, reason: str) -> str:
    """Return why a file cannot be read: that it is a Git LFS pointer, or else the given reason."""
    with contextlib.suppress(OSError, ValueError), open(path, "rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            return "it is a Git LFS pointer, not the file itself: run `git lfs pull` in its folder"
    return reason


_POINTER = b"version https://git-lfs"


@functools.lru_cache(maxsize=1)
def open_gguf(path: Path) -> Any:
    """Open a GGUF file and read its metadata, which takes seconds; its tensors stay on the disk.

    Returns:
      A `gguf.GGUFReader`; the last one is kept.

    Raises:
      UserError: the file cannot be read, or is damaged or cut short.
    """
    import gguf

    try:
        return gguf.GGUFReader(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except Exception as error:  # a damaged file ends in one of numpy's or of Python's own
        reason = explain(path, " ".join(str(error).split())[:200])
        raise UserError(
            f"{path}: is no GGUF file, damaged or cut short ({reason}, {path.stat().st_size:,} "
            "bytes); copy or download it again"
        ) from None


def peek_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file, or an empty one if the file is missing or damaged."""
    with contextlib.suppress(OSError, ValueError):
        value = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(value, dict):
            return value
    return {}


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        UserError: the file is missing, cannot be read, holds something else, or is of a format that
            is newer than this version.
    """
    value = _parse(_read_text(path), str(path))
    found = value.get("format", FORMAT)  # the first version named none
    if not isinstance(found, int) or found > FORMAT:
        raise UserError(
            f"{path}: is of format {found!r} and this version reads {FORMAT}: install the one that "
            "wrote it"
        )
    return value


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(
            f"{path}: not found; a report needs the workdir of a finished run"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise UserError(f"{where}: is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise UserError(f"{where}: is not a JSON object")
    return value
