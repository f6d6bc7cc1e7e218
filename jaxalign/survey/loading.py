"""Surveys by name or path, read from YAML."""

from pathlib import Path

from jaxalign.errors import UserError
from jaxalign.survey.instrument import Instrument
from jaxalign.survey.instrument_file import parse_instrument
from jaxalign.survey.wordings import WORDED, load_wordings
from jaxalign.survey.yaml_files import DATA, read_yaml

PACKAGED = (WORDED, "example_values", "example_opinions")


def load_instrument(name: str) -> Instrument:
    """Read a packaged survey or wording by name (`vsm13`, `vsm13-second`) or a file by its path.

    Raises:
      UserError: the file cannot be read, or breaks the form; all faults are in one message.
    """
    path = DATA / f"{name}.yaml" if name in PACKAGED else Path(name)
    if name.startswith(f"{WORDED}-"):
        for wording in _wordings():
            if wording.name == name:
                return wording
    try:
        raw = read_yaml(path.expanduser())
    except (OSError, RuntimeError, UnicodeDecodeError) as error:
        known = ", ".join([*PACKAGED, *(wording.name for wording in _wordings())])
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"survey.instrument={name!r}: cannot read it ({reason}); give {known} or a YAML file"
        ) from error
    return parse_instrument(raw, str(path))


def _wordings() -> list[Instrument]:
    return list(load_wordings(load_instrument(WORDED)).values())
