"""Configs: the base that files in configs/ start from, and their way to frozen `Settings`."""

import dataclasses
import json
import os
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import config_dict

from jaxalign.errors import UserError
from jaxalign.settings import (
    EMBEDDED,
    EMBEDDED_KEYS,
    INITIAL,
    SMOLLM2_FILE,
    SMOLLM2_KEYS,
    Rule,
    Settings,
)

RENAMED = {
    "objective.benchmark": "objective.culturalbench",
    "objective.terms.benchmark_nll": "objective.terms.culturalbench_nll",
    "objective.terms.benchmark_error": "objective.terms.culturalbench_error",
}


def base(variant: str = "") -> config_dict.ConfigDict:
    """Return the config that every file in configs/ starts from.

    Args:
      variant: what follows the colon in `--config=NAME:VARIANT`; empty for Llama-3-8B-Instruct,
        `embedded` for the model in the package at sizes that suit a laptop, `smollm2` for a small
        real one: the file that launch/real.sh has fetched, or else the hub's.

    Raises:
      UserError: there is no such variant.
    """
    variants: dict[str, dict[str, Any]] = {"": {}, EMBEDDED: EMBEDDED_KEYS, "smollm2": SMOLLM2_KEYS}
    if variant not in variants:
        raise UserError(f"--config=…:{variant}: no such variant; give :embedded, :smollm2 or none")
    config = config_dict.ConfigDict(dataclasses.asdict(Settings()))
    for room, key in ((config, "country"), (config.survey, "constant")):  # of several types
        room[key] = config_dict.placeholder(object)
        room[key] = ""
    config.update_from_flattened_dict(variants[variant])
    file = models_folder() / SMOLLM2_FILE
    if variants[variant] is SMOLLM2_KEYS and file.is_file():
        config.model.path = str(file)
    return config


def models_folder() -> Path:
    """Return the folder of the user's cache in which launch/real.sh keeps models."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "jaxalign" / "models"


def freeze(config: config_dict.ConfigDict) -> Settings:
    """Validate a config and return it as settings; raises UserError as `from_plain` does."""
    return from_plain(json.loads(config.to_json()))


def to_plain(settings: Settings) -> dict[str, Any]:
    """Return the settings as nested dictionaries of plain values, as JSON holds them."""
    return json.loads(json.dumps(dataclasses.asdict(settings)))


def from_plain(plain: Mapping[str, Any]) -> Settings:
    """Validate nested dictionaries and return them as settings; missing keys take their default.

    Raises:
      UserError: one line with every key that is wrong, and what would be right.
    """
    faults: list[str] = []
    settings: Settings = _build(Settings, plain, "", faults)
    if not faults:
        faults = _faults_between(settings)
    if faults:
        raise UserError("config: " + "; ".join(faults))
    return settings


def recorded(record: Mapping[str, Any], file: Path) -> Settings:
    """Return the settings in the record of a run; a key that is younger has its value of then.

    Args:
      record: the content of config.json, of this version or an earlier one.
      file: names it in messages.

    Raises:
      UserError: the file is no record of a run, or has a key or value that is not known here.
    """
    plain = record.get("config")
    if not isinstance(plain, Mapping):
        raise UserError(f"{file}: is no record of a run, which has its settings under 'config'")
    plain = with_new_names(plain)
    for key, value in _VALUES_OF_THEN.items():
        room, _, name = key.partition(".")
        if isinstance(plain.get(room), dict):
            plain[room].setdefault(name, value)
    try:
        return from_plain(plain)
    except UserError as error:
        raise UserError(
            f"{file}: {error}; it is of another version, or was changed by hand"
        ) from error


# Keys that recorded runs may lack, where their default is not what was done before they were added.
_VALUES_OF_THEN = {"search.stop_loss": 0.0}


def with_new_names(plain: Mapping[str, Any], room: str = "") -> dict[str, Any]:
    """Return a recorded config with keys that were renamed since under their new names."""
    renamed = {}
    for name, value in plain.items():
        new = RENAMED.get(f"{room}{name}", name).rpartition(".")[2]
        is_room = isinstance(value, Mapping)
        renamed[new] = with_new_names(value, f"{room}{name}.") if is_room else value
    return renamed


def with_keys(settings: Settings, keys: Mapping[str, Any]) -> Settings:
    """Return settings with some keys replaced, such as {"search.population": 8}.

    Raises:
      UserError: as `from_plain` does.
    """
    plain = to_plain(settings)
    for key, value in keys.items():
        *rooms, name = key.split(".")
        room: Any = plain
        for each in rooms:
            room = room.get(each)
            if not isinstance(room, dict):
                raise UserError(f"config: {key}: unknown key")
        room[name] = value
    return from_plain(plain)


def flatten(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return dotted key to value of a plain config; what lies deeper stays one value."""
    flat: dict[str, Any] = {}
    for room, value in plain.items():
        if isinstance(value, dict):
            flat |= {f"{room}.{key}": leaf for key, leaf in value.items()}
        else:
            flat[room] = value
    return flat


def _build(kind: Any, plain: Mapping[str, Any], room: str, faults: list[str]) -> Any:
    """Build a settings class from a dictionary; appends to `faults`."""
    hints = typing.get_type_hints(kind, include_extras=True)
    known = ", ".join(hints)
    for name in plain:
        if name not in hints:
            new = RENAMED.get(f"{room}{name}")
            faults.append(
                f"{room}{name}: " + (f"is now {new}" if new else f"unknown; give {known}")
            )
    values = {
        name: _checked(hint, f"{room}{name}", plain[name], faults)
        for name, hint in hints.items()
        if name in plain
    }
    return kind(**values)


def _checked(hint: Any, key: str, value: Any, faults: list[str]) -> Any:
    """Return a key's value in the type of its annotation; appends to `faults`."""
    rule, choices = None, ()
    if typing.get_origin(hint) is typing.Annotated:
        hint, rule = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        choices, hint = typing.get_args(hint), str
        rule = Rule(choices.__contains__, " or ".join(choices))
    is_room = dataclasses.is_dataclass(hint)
    kind = dict if is_room else typing.get_origin(hint) or hint
    if kind is float and type(value) is int:
        value = float(value)
    if isinstance(value, list):
        value = tuple(value)
    if isinstance(kind, type) and kind in (str, int, float, dict) and type(value) is not kind:
        faults.append(f"{key}={value!r}: must be of type {kind.__name__}")
    elif rule and not rule.holds(value):
        faults.append(f"{key}={value!r}: must be {rule.wanted}")
    elif is_room:
        return _build(hint, value, f"{key}.", faults)
    return value


def _faults_between(settings: Settings) -> list[str]:
    """Return what is wrong between keys that are right by themselves."""
    faults = []
    terms, init = settings.objective.terms, settings.prompt.init
    if not any(dataclasses.astuple(terms)):
        faults.append(f"objective.terms={dataclasses.asdict(terms)}: one must be above 0")
    if settings.search.space == "texts" and init not in INITIAL[:2]:
        faults.append(
            f"prompt.init={init!r}: must be {' or '.join(INITIAL[:2])} where search.space=texts, "
            "whose coordinates are those texts and which starts at them"
        )
    return faults
