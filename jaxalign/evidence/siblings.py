"""Other runs beside an evaluated one: prompts of other countries, and of shuffled targets."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxalign.errors import UserError
from jaxalign.files import read_json
from jaxalign.interchange.reading import RESULT, read_soft_prompt

_NEEDED = ("config.json", "summary.json", RESULT)


@dataclass(frozen=True, eq=False)
class Sibling:
    """A prompt that another run tuned for the same model and survey.

    Attributes:
      folder: its workdir.
      country: code; name: of the country.
      shuffled: whether its targets were.
      prompt_LD: float32.
    """

    folder: Path
    country: str
    name: str
    shuffled: bool
    prompt_LD: np.ndarray


def find_siblings(
    workdir: Path,
    given: Sequence[str] | None,
    shape: tuple[int, ...],
    digests: dict[str, str],
) -> list[Sibling]:
    """Finished runs of the same model, survey and prompt length; the first of each country.

    Args:
      workdir: of the run that is evaluated.
      given: their workdirs; None for those in the folder of the workdir that are such runs.
      shape: of the evaluated prompt.
      digests: of the model and survey as they are.

    Raises:
      UserError: a given workdir is no such run.
    """
    own = workdir.resolve()
    folders = [Path(os.path.expanduser(each)) for each in given or ()]
    if given is None:
        near = own.parent.iterdir() if own.parent.is_dir() else ()
        folders = sorted(each for each in near if each != own)
    found: dict[tuple[str, bool], Sibling] = {}
    for folder in folders:
        sibling, fault = _read(folder, shape, digests)
        if sibling is not None:
            found.setdefault((sibling.country, sibling.shuffled), sibling)
        elif given is not None:
            raise UserError(f"--siblings={folder}: {fault}")
    return list(found.values())


def _read(
    folder: Path, shape: tuple[int, ...], digests: dict[str, str]
) -> tuple[Sibling | None, str]:
    """Return the run in a folder, or the reason why it is none."""
    if missing := [name for name in _NEEDED if not (folder / name).is_file()]:
        return None, f"has no {', '.join(missing)}; give the workdir of a finished run"
    try:
        record, summary = (read_json(folder / name) for name in _NEEDED[:2])
        prompt_LD = read_soft_prompt(folder / RESULT)
        country, name = summary["country"], summary["country_name"]
        theirs = {key: record["digests"][key] for key in ("weights", "survey")}
        shuffled = bool(record["config"]["survey"].get("shuffle"))
    except (UserError, KeyError, TypeError, ValueError) as error:
        return None, f"cannot be read ({error})"
    for key, digest in theirs.items():
        if digest != digests[key]:
            return None, f"was tuned with another {key}"
    if prompt_LD.shape != shape:
        return None, f"has a prompt of {prompt_LD.shape[0]} rows in place of {shape[0]}"
    return Sibling(folder, country, name, shuffled, prompt_LD), ""
