"""YAML files of surveys."""

import itertools
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from jaxalign.errors import UserError

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
      UserError: as of `parse_yaml`.
    """
    return parse_yaml(path.read_text(encoding="utf-8"), str(path))


def parse_yaml(text: str, where: str) -> Any:
    """Return what a text in YAML holds.

    Args:
      text: the text.
      where: names it in messages.

    Raises:
      UserError: it is not valid YAML, a key stands twice, or aliases repeat too much.
    """
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, {})
        return loader.construct_document(node)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that is none
        raise UserError(f"{where}: not valid YAML ({' '.join(str(error).split())})") from error
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
