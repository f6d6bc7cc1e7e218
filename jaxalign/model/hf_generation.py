"""The tokens that end an answer, as a model folder's JSON files or a GGUF file name them."""

from typing import Any

from etils import epath

from jaxalign.errors import UserError
from jaxalign.model.gguf import is_gguf
from jaxalign.model.hf_config import read_json_of

FILES = ("config.json", "generation_config.json")


def read_stop_ids(folder: epath.PathLike) -> set[int]:
    """Return every `eos_token_id` of config.json and generation_config.json; either may have none.

    Raises:
      UserError: a file cannot be read, or the field is neither an id nor a list of ids.
    """
    stops: set[int] = set()
    for name in FILES[:1] if is_gguf(folder) else FILES:
        path = epath.Path(folder) / name
        if not is_gguf(folder) and not path.is_file():
            continue
        value = read_json_of(folder, name).get("eos_token_id")
        ids: list[Any] = value if isinstance(value, list) else [value] * (value is not None)
        if not all(type(each) is int and each >= 0 for each in ids):
            raise UserError(
                f"{path}: eos_token_id is {value!r}, must be a token id, a list of them, or null"
            )
        stops.update(ids)
    return stops
