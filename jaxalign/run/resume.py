"""Whether a run may be resumed, and what has changed since it was begun."""

import logging
from pathlib import Path
from typing import Any

from jaxalign.config import flatten, recorded, to_plain
from jaxalign.errors import UserError
from jaxalign.search import SHRINKING

_LOG = logging.getLogger(__name__)
# Keys that do not change the search; those of model, survey and targets are covered by digests.
FREE_KEYS = frozenset(
    {
        "workdir",
        "country",
        "model.path",
        "model.revision",
        "survey.instrument",
        "search.generations",
        "search.patience",
        "search.polish",
        "search.stop_loss",
        "evaluation.chunk",
        "mesh.population",
        "mesh.model",
        "checkpoint.every",
        "checkpoint.keep",
    }
)


def check_same_settings(old: dict[str, Any], config: dict[str, Any], path: Path) -> None:
    """Refuse another run's workdir by its settings alone, before anything is loaded.

    Args:
      old: config.json of the workdir.
      config: the new config, nested and plain.
      path: of the workdir.

    Raises:
      UserError: with every key that differs.
    """
    _refuse(_changed_keys(old, config, path, FREE_KEYS), path)


def check_same_run(
    old: dict[str, Any],
    config: dict[str, Any],
    digests: dict[str, str],
    candidates: int,
    path: Path,
    mesh: tuple[int, int] = (1, 1),
) -> None:
    """Refuse to resume a run whose result would differ from the one that was begun.

    Args:
      old: config.json of the workdir.
      config: the new config, nested and plain.
      digests: of weights, survey and target.
      candidates: evaluated in one generation, above which no chunk goes.
      path: of the workdir.
      mesh: devices along its two axes; on another one the run may have another chunk.

    Raises:
      UserError: with every key that differs.
    """
    same_target = old["digests"].get("target") == digests["target"]
    free = FREE_KEYS if same_target else FREE_KEYS - {"country"}
    changes = _changed_keys(old, config, path, free)
    chunk = min(flatten(config)["evaluation.chunk"], -(-candidates // mesh[0]))
    same_mesh = tuple(old["resolved"].get("mesh", (1, 1))) == mesh
    if chunk and same_mesh and chunk != old["resolved"]["chunk"]:  # 0 takes the old run's
        changes.append(f"evaluation.chunk was {old['resolved']['chunk']}, now {chunk}")
    changes += [
        f"the {name} changed" for name in digests if old["digests"].get(name) != digests[name]
    ]
    _refuse(changes, path)


def _changed_keys(
    old: dict[str, Any], config: dict[str, Any], path: Path, free: frozenset[str]
) -> list[str]:
    """Say of each key that is not free and differs what it was and is."""
    before = flatten(to_plain(recorded(old, path / "config.json")))
    return [
        f"{key} was {before.get(key)!r}, now {value!r}"
        for key, value in flatten(config).items()
        if key not in free and before.get(key) != value
    ]


def _refuse(changes: list[str], path: Path) -> None:
    if changes:
        raise UserError(
            f"workdir={path} holds another run: {'; '.join(changes)}; give another --workdir, or "
            "the old settings to resume it"
        )


def warn_of_changes(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Warn when a run is resumed on other devices or versions, which may round differently."""
    changes = [
        f"{name} was {old['versions'].get(name)}, now {version}"
        for name, version in new["versions"].items()
        if old["versions"].get(name) != version
    ]
    if old["device"] != new["device"]:
        changes.append(f"the device was {old['device']}, now {new['device']}")
    meshes = [" x ".join(map(str, each["resolved"].get("mesh", [1, 1]))) for each in (old, new)]
    if meshes[0] != meshes[1]:
        changes.append(f"the mesh was {meshes[0]}, now {meshes[1]}")
    before, after = (record["config"]["search"] for record in (old, new))
    if after["strategy"] in SHRINKING and before["generations"] != after["generations"]:
        _LOG.warning(
            "search.generations was %d: %s shrinks its population by that plan, and beyond it "
            "keeps searching with its last members",
            before["generations"],
            after["strategy"],
        )
    if changes:
        _LOG.warning(
            "%s; the run is resumed, but may round differently from here on",
            "; ".join(changes),
        )
