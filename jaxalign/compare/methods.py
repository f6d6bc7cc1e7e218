"""What is compared with what: labels, and the config keys that make each method."""

import os
from pathlib import Path
from typing import Any

from jaxalign.cli import config_folder
from jaxalign.config import with_keys
from jaxalign.errors import UserError
from jaxalign.settings import Settings
from jaxalign.survey import read_yaml

OUTSIDE = ("scipy", "cma", "gradient")
_PACKAGED = "all"
# Follow from the evaluations, or have no part in a comparison.
_FIXED = ("search.generations", "search.patience", "search.polish", "search.stop_loss")


def load_methods(given: str) -> dict[str, dict[str, Any]]:
    """Label to config keys, in order.

    Args:
      given: `all` for the packaged methods, some of their labels with commas between, or the path
        of a YAML file of the same form.

    Raises:
      UserError: no such method or file, or a file of another form.
    """
    path = Path(os.path.expanduser(given))
    if path.suffix in (".yaml", ".yml"):
        return _read(path)
    methods = _read(config_folder() / "methods.yaml")
    if given == _PACKAGED:
        return methods
    labels = [label.strip() for label in given.split(",") if label.strip()]
    found = [_find(label, list(methods), given) for label in labels or [""]]
    return {label: methods[label] for label in found}


def _find(typed: str, labels: list[str], given: str) -> str:
    """Return the label that was typed whole, without its remark in brackets, or by its beginning.

    Raises:
      UserError: none or several are meant; the message says which there are.
    """
    for names in (labels, [label.partition(" (")[0] for label in labels]):
        if names.count(typed) == 1:
            return labels[names.index(typed)]
    begun = [label for label in labels if typed and label.casefold().startswith(typed.casefold())]
    if len(begun) == 1:
        return begun[0]
    if begun:
        raise UserError(f"--methods={given}: {typed!r} may be any of: {', '.join(begun)}")
    raise UserError(
        f"--methods={given}: no method {typed!r}; give {_PACKAGED}, a .yaml file, or some of: "
        f"{', '.join(labels)}"
    )


def with_method(settings: Settings, label: str, keys: dict[str, Any]) -> Settings:
    """Return the settings with a method's keys set; another strategy has its own parameters.

    Raises:
      UserError: a key is unknown or not a method's to set, or a value is of another type.
    """
    changes = {key: value for key, value in keys.items() if key != "outside"}
    for key in changes:
        if not key.startswith(("search.", "prompt.")) or key in _FIXED:
            raise UserError(
                f"--methods: {label}: {key}: is the same for all methods; a method may set "
                f"outside, and keys of search and prompt but {', '.join(_FIXED)}"
            )
    if "search.strategy" in changes:
        changes = {"search.strategy_params": {}} | changes
    try:
        return with_keys(settings, changes)
    except UserError as error:
        raise UserError(f"--methods: {label}: {error}") from error


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        methods = read_yaml(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"--methods={path}: cannot be read ({reason})") from error
    if not isinstance(methods, dict) or not methods:
        raise UserError(f"--methods={path}: must map labels to config keys")
    for label, keys in methods.items():
        if not str(label).strip() or not str(label).isprintable():
            raise UserError(f"--methods={path}: label {label!r} must be one line of text")
        if not isinstance(keys, dict) or not all(isinstance(key, str) for key in keys):
            raise UserError(f"--methods={path}: {label!r} must map config keys to values")
        if keys.get("outside", OUTSIDE[0]) not in OUTSIDE:
            raise UserError(
                f"--methods={path}: {label!r}: outside={keys['outside']!r} must be "
                f"{' or '.join(OUTSIDE)}"
            )
    return {str(label): keys for label, keys in methods.items()}
