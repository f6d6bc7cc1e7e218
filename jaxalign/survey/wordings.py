"""Other wordings of the packaged VSM13: the same items, scales and formulas in other words."""

import functools

from jaxalign.survey.instrument import Instrument
from jaxalign.survey.instrument_file import parse_instrument
from jaxalign.survey.yaml_files import DATA, read_yaml

WORDED = "vsm13"  # the survey that has other wordings


def load_wordings(instrument: Instrument) -> dict[str, Instrument]:
    """Return the packaged other wordings of a survey by short name: none but for `WORDED`.

    The survey `vsm13-NAME` has the short name NAME.
    """
    base, wordings = _packaged()
    return dict(wordings) if instrument == base else {}


@functools.cache
def _packaged() -> tuple[Instrument, dict[str, Instrument]]:
    """Return the packaged survey and its other wordings."""
    base, path = read_yaml(DATA / f"{WORDED}.yaml"), DATA / "vsm13_wordings.yaml"
    wordings = {}
    for name, words in read_yaml(path).items():
        texts = zip(base["items"], words["items"], strict=True)
        raw = base | words
        raw["name"] = f"{WORDED}-{name}"
        raw["instruction"] = words["instructions"]["numbers"]
        raw["items"] = [item | {"text": text} for item, text in texts]
        wordings[name] = parse_instrument(raw, f"{path}: {name}")
    return parse_instrument(base, WORDED), wordings
