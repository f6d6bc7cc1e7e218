"""The tokens that end an answer, as a model folder's JSON files name them."""

import json
from typing import Any

from etils import epath

from jaxalign.errors import UserError

FILES = ("config.json", "generation_config.json")


def read_stop_ids(folder: epath.PathLike) -> set[int]:
    """Return every `eos_token_id` of config.json and generation_config.json; either may have none.

    Raises:
      UserError: a file cannot be read, or the field is neither an id nor a list of ids.
    """
    stops: set[int] = set()
    for path in (epath.Path(folder) / name for name in FILES):
        if not path.is_file():
            continue
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be read as JSON ({error})") from None
        if not isinstance(raw, dict):
            raise UserError(f"{path}: must be a JSON object, is a {type(raw).__name__}")
        value = raw.get("eos_token_id")
        ids: list[Any] = value if isinstance(value, list) else [value] * (value is not None)
        if not all(type(each) is int and each >= 0 for each in ids):
            raise UserError(
                f"{path}: eos_token_id is {value!r}, must be a token id, a list of them, or null"
            )
        stops.update(ids)
    return stops
