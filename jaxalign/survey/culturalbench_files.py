"""Where CulturalBench comes from: the package, a CSV or Parquet file, or a commit on the hub."""

import os
import re
from importlib import resources
from pathlib import Path

from jaxalign.errors import UserError
from jaxalign.files import read_table
from jaxalign.survey.culturalbench import (
    HardRow,
    Quiz,
    QuizQuestion,
    Rows,
    parse_easy,
    parse_hard,
)

FIXTURE = "fixture"
_KEY = "objective.culturalbench"
_KINDS = (".csv", ".parquet")
_FIXTURES = {"Easy": "culturalbench_fixture.csv", "Hard": "culturalbench_hard_fixture.csv"}
_ON_HUB = re.compile(r"[\w.-]+/[\w.-]+(?:@(?P<commit>.*))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def load_quiz(source: str, key: str = _KEY) -> Quiz[QuizQuestion]:
    """Read CulturalBench-Easy.

    Args:
      source: `fixture` (our few questions in its format), a CSV or Parquet file, a folder with
        `CulturalBench-Easy.csv` or `.parquet`, or `REPO@COMMIT` on the hub, which is fetched into
        its local cache once. A commit has 40 hex digits: a branch would change under a result.
      key: names the setting in messages.

    Raises:
      UserError: it cannot be read or breaks the format; source, row and fault are named.
    """
    path = _find(source, "Easy", key)
    if path is None:
        raise UserError(f"{key}={source!r}: this folder has no CulturalBench-Easy.csv; {_ways()}")
    return _easy(_read(path, source, key), source, path)


def load_quizzes(
    source: str, key: str = _KEY
) -> tuple[Quiz[QuizQuestion] | None, Quiz[HardRow] | None]:
    """Read CulturalBench-Easy and -Hard; None for the one that the source does not hold.

    Args:
      source: as in `load_quiz`; a single file is recognised by its columns.
      key: names the setting in messages.

    Raises:
      UserError: neither is there, or one cannot be read or breaks its format.
    """
    easy, hard = _find(source, "Easy", key), _find(source, "Hard", key)
    if easy is None and hard is None:
        raise UserError(
            f"{key}={source!r}: this folder has no CulturalBench-Easy.csv and no "
            f"CulturalBench-Hard.csv; {_ways()}"
        )
    if easy is not None and easy == hard:
        rows = _read(easy, source, key)
        if rows and "prompt_option" in rows[0][1]:
            return None, _hard(rows, source, easy)
        return _easy(rows, source, easy), None
    return (
        None if easy is None else _easy(_read(easy, source, key), source, easy),
        None if hard is None else _hard(_read(hard, source, key), source, hard),
    )


def _easy(rows: Rows, source: str, path: Path) -> Quiz[QuizQuestion]:
    name = _name(source, path)
    return Quiz(*parse_easy(rows, name), name, source == FIXTURE)


def _hard(rows: Rows, source: str, path: Path) -> Quiz[HardRow]:
    name = _name(source, path)
    return Quiz(*parse_hard(rows, name), name, source == FIXTURE)


def _name(source: str, path: Path) -> str:
    """Return the name of a file in messages and records."""
    return source if source == FIXTURE or _is_on_hub(source) else str(path)


def _find(source: str, form: str, key: str) -> Path | None:
    """Return the file that should hold `Easy` or `Hard`; None if a folder lacks it."""
    if source == FIXTURE:
        return Path(str(resources.files("jaxalign.survey") / "data" / _FIXTURES[form]))
    if _is_on_hub(source):
        return _fetch(source, f"CulturalBench-{form}.csv", key)
    path = Path(os.path.expanduser(source))  # unlike Path's, leaves an unknown ~user alone
    if not source or not path.is_dir():
        return path
    files = (path / f"CulturalBench-{form}{kind}" for kind in _KINDS)
    return next((file for file in files if file.is_file()), None)


def _is_on_hub(source: str) -> bool:
    match = _ON_HUB.fullmatch(source)
    if match is None or Path(source).exists():
        return False
    return match["commit"] is not None or Path(source).suffix not in _KINDS


def _fetch(source: str, name: str, key: str) -> Path:
    """Return a file of a data set at a commit, from the hub's cache or the hub."""
    repository, _, commit = source.partition("@")
    if not _COMMIT.fullmatch(commit):
        raise UserError(
            f"{key}={source!r}: is no file here, and from the hub only a pinned commit is read; "
            f"{_ways()}"
        )
    import huggingface_hub
    from huggingface_hub import errors

    try:
        return Path(
            huggingface_hub.hf_hub_download(
                repository,
                name,
                repo_type="dataset",
                revision=commit,
                token=os.environ.get("HF_TOKEN") or False,
            )
        )
    except errors.GatedRepoError:
        reason = "the hub does not give it to this token (HF_TOKEN)"
    except errors.RepositoryNotFoundError:
        reason = f"the hub has no data set {repository} that this token (HF_TOKEN) may see"
    except errors.RevisionNotFoundError:
        reason = "the hub has no such commit of it"
    except errors.LocalEntryNotFoundError:
        reason = f"{name} is not in the hub's local cache and the hub cannot be reached"
    except errors.EntryNotFoundError:
        reason = f"has no {name} at this commit"
    except (errors.HFValidationError, errors.HfHubHTTPError, OSError) as error:
        reason = f"could not be fetched ({' '.join(str(error).split())[:200]})"
    raise UserError(f"{key}={source!r}: {reason}; {_ways()}")


def _read(path: Path, source: str, key: str) -> list[tuple[int, dict[str, str]]]:
    """Numbered rows of cells, as text."""
    if path.suffix == ".parquet":
        return _read_parquet(path, source, key)
    try:
        return read_table(path, _name(source, path))
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        raise _unreadable(source, key, error) from error


def _read_parquet(path: Path, source: str, key: str) -> list[tuple[int, dict[str, str]]]:
    """Return rows numbered from 1; what is missing becomes an empty cell."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise UserError(
            f"{key}={source!r}: Parquet is read with pyarrow, which is not installed; install "
            "jaxalign[parquet] or give the CSV"
        ) from error
    try:
        with path.open("rb") as file:  # by its path, pyarrow would read folder names as columns
            rows = parquet.read_table(file).to_pylist()
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise _unreadable(source, key, error) from error
    # `cell != cell`: NaN, which pandas writes for a missing text.
    return [
        (number, {k: "" if cell is None or cell != cell else str(cell) for k, cell in row.items()})
        for number, row in enumerate(rows, 1)
    ]


def _unreadable(source: str, key: str, error: Exception) -> UserError:
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())
    return UserError(f"{key}={source!r}: cannot read it ({reason}); {_ways()}")


def _ways() -> str:
    return (
        f"give {FIXTURE} or CulturalBench: a CSV or Parquet file, a folder with its files, or "
        "kellycyy/CulturalBench@COMMIT (40 hex digits)"
    )
