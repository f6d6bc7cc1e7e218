"""Whether a run may be resumed, and what has changed since it was begun."""

import logging
from pathlib import Path
from typing import Any

from jaxalign.config import flatten, with_new_names
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
    before, after = flatten(with_new_names(old["config"])), flatten(config)
    same_target = old["digests"].get("target") == digests["target"]
    free = FREE_KEYS if same_target else set(FREE_KEYS) - {"country"}
    changes = [
        f"{key} was {before.get(key)!r}, now {value!r}"
        for key, value in after.items()
        if key not in free and before.get(key) != value
    ]
    chunk = min(after["evaluation.chunk"], -(-candidates // mesh[0]))
    same_mesh = tuple(old["resolved"].get("mesh", (1, 1))) == mesh
    if chunk and same_mesh and chunk != old["resolved"]["chunk"]:  # 0 takes the old run's
        changes.append(f"evaluation.chunk was {old['resolved']['chunk']}, now {chunk}")
    changes += [
        f"the {name} changed" for name in digests if old["digests"].get(name) != digests[name]
    ]
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
