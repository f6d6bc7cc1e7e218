"""YAML files of surveys."""

import itertools
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from jaxalign.errors import UserError
from jaxalign.files import read_bytes

_MOST = 100_000  # values of a file
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
      UserError: it is not valid YAML, a key stands twice, or aliases repeat too much.
    """
    text, loader = read_bytes(path).decode(), None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, {})
        return loader.construct_document(node)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that is none
        reason = " ".join(str(error).replace('in "<unicode string>", ', "at ").split())
        raise UserError(f"{path}: not valid YAML ({reason})") from error
    finally:
        if loader is not None:
            loader.dispose()


def _count(node: yaml.Node, counted: dict[int, int]) -> int:
    """Return how many values a node has once its aliases are written out.

    A few lines of aliases of aliases stand for billions, and whoever walks over them never ends.
    """
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in counted:
        counted[id(node)] = _MOST  # if it is met again before it is counted, it is in itself
        below = node.value if isinstance(node, yaml.SequenceNode) else itertools.chain(*node.value)
        counted[id(node)] = 1 + sum(_count(each, counted) for each in below)
    if counted[id(node)] >= _MOST:
        raise yaml.constructor.ConstructorError(
            None, None, f"aliases repeat more than {_MOST:,} values", node.start_mark
        )
    return counted[id(node)]
