"""The model that a prompt is for, as other tools name it."""

import dataclasses
import os
from pathlib import Path

from jaxalign.model import EMBEDDED, DecoderConfig, in_bucket, read_config, resolve


@dataclasses.dataclass(frozen=True)
class BaseModel:
    """A model without its weights.

    Attributes:
      name: what other tools load it by: a hub id, or the path of a folder,
        here or in a bucket.
      revision: of a hub id, or None.
      on_hub: whether the name is a hub id.
      config: its architecture.
    """

    name: str
    revision: str | None
    on_hub: bool
    config: DecoderConfig


def find_base(model: str, revision: str | None) -> BaseModel:
    """Return the model that `model.path` and `model.revision` of a config mean.

    Of a model on the hub config.json alone is fetched.

    Raises:
      UserError: there is no such model, or none that we know how to run.
    """
    local = model == EMBEDDED or Path(os.path.expanduser(model)).is_dir()
    folder = resolve(model, revision, files=("config.json",))
    name = str(folder.resolve()) if local else model
    return BaseModel(name, revision, not local and not in_bucket(model), read_config(folder))
