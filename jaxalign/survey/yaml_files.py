"""YAML files of surveys."""

from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from jaxalign.errors import UserError

DATA = Path(str(resources.files("jaxalign.survey") / "data"))


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping: YAML would silently keep the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        keys = [key.value for key, _ in pairs if isinstance(key, yaml.ScalarNode)]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} appears twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds.

    Raises:
      OSError, UnicodeDecodeError: it cannot be read.
      UserError: it is not valid YAML, or a key stands twice.
    """
    text = path.read_text(encoding="utf-8")
    try:
        return yaml.load(text, _Loader)  # a safe loader
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that is none
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
