"""Personas and value statements: the texts that a search may start from."""

import itertools
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import yaml

from jaxalign.prompts.chat import encode


@dataclass(frozen=True)
class Texts:
    """The packaged texts.

    Attributes:
      personas: wordings with `{country}`; held_out: wordings kept for tests only.
      values: value statements that name no country.
      countries: code to name within a sentence.
      overlaps: groups of codes of which one contains another.
    """

    personas: tuple[str, ...]
    held_out: tuple[str, ...]
    values: tuple[str, ...]
    countries: dict[str, str]
    overlaps: tuple[tuple[str, ...], ...]


def load_texts() -> Texts:
    """Reads the packaged texts."""
    raw = yaml.safe_load((resources.files("jaxalign.prompts") / "data" / "texts.yaml").read_text())
    return Texts(
        personas=tuple(raw["personas"]),
        held_out=tuple(raw["held_out"]),
        values=tuple(raw["values"]),
        countries=raw["countries"],
        overlaps=tuple(map(tuple, raw["overlaps"])),
    )


def starting_texts(
    texts: Texts, code: str, name: str, count: int, rng: np.random.Generator
) -> list[str]:
    """Draws texts that never name the country that is searched for.

    First one persona for each other country, each in a random wording, then the value statements,
    then the remaining personas; when all are used, joined pairs. So small populations are as
    diverse as the texts allow.

    Args:
      texts: the packaged texts.
      code: of the searched country.
      name: of the searched country, for targets whose codes are not ours.
      count: how many; the result is this long and has no text twice.
      rng: drawn from.
    """
    searched = {code for code, ours in texts.countries.items() if _plain(ours) == _plain(name)}
    searched.add(code)
    barred = searched.union(*(group for group in texts.overlaps if searched & set(group)))
    names = [name for code, name in texts.countries.items() if code not in barred]
    wordings = {name: rng.permutation(texts.personas) for name in names}
    rounds = [
        [str(wordings[name][turn]).format(country=name) for name in rng.permutation(names)]
        for turn in range(len(texts.personas))
    ]
    values = [str(text) for text in rng.permutation(texts.values)]
    pool = [*rounds[0], *values, *itertools.chain(*rounds[1:])]
    chosen = dict.fromkeys(pool[:count])
    while len(chosen) < count:
        first, second = rng.choice(len(pool), 2, replace=False)
        chosen[f"{pool[first]} {pool[second]}"] = None
    return list(chosen)


def encode_texts(tokenizer: Any, texts: list[str], length: int) -> np.ndarray:
    """Token ids int32 [P, L]: each text cut to L tokens, or repeated until it fills them."""
    return np.stack([np.resize(encode(tokenizer, text), length) for text in texts]).astype(np.int32)


def _plain(name: str) -> str:
    return name.casefold().removeprefix("the ").strip()
