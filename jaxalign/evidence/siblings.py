"""Other runs beside an evaluated one: prompts of other countries, and of shuffled targets."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

PROMPT = "soft_prompt.safetensors"


@dataclass(frozen=True, eq=False)
class Sibling:
    """A prompt that another run tuned for the same model.

    Attributes:
      folder: its workdir.
      country: code; name: of the country.
      shuffled: whether its targets were.
      prompt_LD: float32.
    """

    folder: Path
    country: str
    name: str
    shuffled: bool
    prompt_LD: np.ndarray


def find_siblings(workdir: Path, config: dict[str, Any], digests: dict[str, str]) -> list[Sibling]:
    """Finished runs in folders beside a workdir, of the same model, survey and prompt length.

    Where two are for the same country, the one whose folder comes first by name is taken.

    Args:
      workdir: of the run that is evaluated.
      config: its config, flattened.
      digests: of its config.json.
    """
    found: dict[tuple[str, bool], Sibling] = {}
    for folder in sorted(workdir.resolve().parent.iterdir()):
        files = folder / "config.json", folder / "summary.json", folder / PROMPT
        if folder == workdir.resolve() or not all(file.is_file() for file in files):
            continue
        record, summary = (json.loads(file.read_text(encoding="utf-8")) for file in files[:2])
        same = all(record["digests"].get(key) == digests[key] for key in ("weights", "survey"))
        prompt_LD = safetensors.numpy.load_file(files[2])["prompt_embeddings"]
        if not same or prompt_LD.shape[0] != config["prompt.length"]:
            continue
        shuffled = bool(record["config"]["survey"].get("shuffle"))
        key = (summary["country"], shuffled)
        found.setdefault(
            key, Sibling(folder, *key[:1], summary["country_name"], shuffled, prompt_LD)
        )
    return list(found.values())
