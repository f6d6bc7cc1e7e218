"""Personas, value statements and country facts: the texts that a search may start from."""

import itertools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from jaxalign.errors import UserError
from jaxalign.prompts.chat import encode
from jaxalign.survey import read_yaml

COUNTRY = "{country}"


@dataclass(frozen=True)
class Texts:
    """The packaged texts, or these and a user's own.

    Attributes:
      personas: wordings with `{country}`; held_out: wordings kept for tests only.
      values: value statements that name no country.
      facts: (code of a country, a fact about it), which may name the country.
      countries: code to name within a sentence.
      overlaps: groups of codes of which one contains another.
    """

    personas: tuple[str, ...]
    held_out: tuple[str, ...]
    values: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    countries: dict[str, str]
    overlaps: tuple[tuple[str, ...], ...]


def load_texts(path: str = "") -> Texts:
    """Read the packaged texts, and add those of a user's YAML file.

    The file has the packaged one's form, with any of the keys personas, values, facts, countries
    and overlaps. Where both name a country's code, the user's name holds.

    Raises:
      UserError: one line with everything wrong in the user's file.
    """
    packaged = resources.files("jaxalign.prompts") / "data" / "texts.yaml"
    raw = yaml.safe_load(packaged.read_text(encoding="utf-8"))
    own = _parse(_read_yaml(path), set(raw["countries"]), path) if path else {}
    facts = [*raw["facts"].items(), *own.get("facts", {}).items()]
    return Texts(
        personas=tuple(dict.fromkeys([*raw["personas"], *own.get("personas", [])])),
        held_out=tuple(raw["held_out"]),
        values=tuple(dict.fromkeys([*raw["values"], *own.get("values", [])])),
        facts=tuple((code, text) for code, listed in facts for text in listed),
        countries=raw["countries"] | own.get("countries", {}),
        overlaps=tuple(map(tuple, [*raw["overlaps"], *own.get("overlaps", [])])),
    )


def starting_texts(
    texts: Texts,
    searched: Sequence[tuple[str, str]],
    count: int,
    rng: np.random.Generator,
    diverse: bool = False,
) -> list[str]:
    """Draw texts that never name a country that is searched for, nor one that overlaps with it.

    First one persona for each other country, each in a random wording, then the value statements,
    then the remaining personas, then the facts; when all n are used, random joined pairs of them,
    then triples and so on. So small populations are as diverse as the texts allow. For each length
    as many joins are drawn as there are, n! / (n - length)!, repeated ones included, which finds
    about two thirds of them: were no country left, the 16 packaged value statements would still
    give some 150 pairs and 2,100 triples.

    Args:
      texts: as `load_texts` gives them.
      searched: (code, name) of each searched country; the name is for codes that are not ours.
      count: how many; the result is this long and has no text twice.
      rng: drawn from.
      diverse: personas, values and facts come in turn, one of each, instead of one kind after
        the other; the remaining personas follow.

    Raises:
      UserError: so many cannot be made.
    """
    barred = _barred(texts, searched)
    names = _unnamed(barred, dict.fromkeys(texts.countries.values()))
    personas = _unnamed(barred, texts.personas)
    wordings = {name: rng.permutation(personas) for name in names}
    rounds = [
        [str(wordings[name][turn]).replace(COUNTRY, name) for name in rng.permutation(names)]
        for turn in range(len(personas))
    ]
    values = [str(text) for text in rng.permutation(_unnamed(barred, texts.values))]
    open_facts = [text for code, text in texts.facts if texts.countries[code] in names]
    facts = [str(text) for text in rng.permutation(_unnamed(barred, open_facts))]
    first, more = list(itertools.chain(*rounds[:1])), list(itertools.chain(*rounds[1:]))
    if diverse:
        turns = itertools.zip_longest(first, values, facts)
        ordered = [*(text for turn in turns for text in turn if text is not None), *more]
    else:
        ordered = [*first, *values, *more, *facts]
    return _filled(list(dict.fromkeys(ordered)), count, rng)


def encode_texts(tokenizer: Any, texts: list[str], length: int) -> np.ndarray:
    """Token ids int32 [P, L]: each text cut to L tokens, or repeated until it fills them."""
    return np.stack([np.resize(encode(tokenizer, text), length) for text in texts]).astype(np.int32)


def _filled(pool: list[str], count: int, rng: np.random.Generator) -> list[str]:
    """Return the pool's first texts, then random joins of it, shorter ones first."""
    chosen = dict.fromkeys(pool[:count])
    for size in range(2, len(pool) + 1):
        for _ in range(math.perm(len(pool), size)):
            if len(chosen) == count:
                return list(chosen)
            picked = rng.choice(len(pool), size, replace=False)
            chosen[" ".join(pool[index] for index in picked)] = None
    if len(chosen) < count:
        raise UserError(
            f"search.population={count}: only {len(chosen)} starting texts name none of the "
            "searched countries; take fewer, or prompt.init=vocabulary"
        )
    return list(chosen)


def _barred(texts: Texts, searched: Sequence[tuple[str, str]]) -> list[re.Pattern[str]]:
    """Patterns of all names that must not occur: of the searched countries and their overlaps."""
    codes = {code for code, _ in searched}
    names = {_plain(name) for _, name in searched}
    for code, ours in texts.countries.items():
        if any(_pattern(ours).search(name) for name in names):  # or a longer form of our name
            codes.add(code)
    barred = codes.union(*(group for group in texts.overlaps if codes & set(group)))
    names |= {_plain(texts.countries[code]) for code in barred if code in texts.countries}
    return [_pattern(name) for name in sorted(names)]


def _unnamed(barred: list[re.Pattern[str]], candidates: Iterable[str]) -> list[str]:
    return [text for text in candidates if not any(name.search(text) for name in barred)]


def _pattern(name: str) -> re.Pattern[str]:
    """Find a name as whole words in any case: Niger is not found in Nigeria."""
    return re.compile(rf"(?<!\w){re.escape(_plain(name))}(?!\w)", re.IGNORECASE)


def _plain(name: str) -> str:
    return name.casefold().removeprefix("the ").strip()


def _read_yaml(path: str) -> Any:
    try:
        return read_yaml(Path(path).expanduser())
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"prompt.texts={path!r}: cannot read it ({reason}); give a YAML file"
        ) from error


def _parse(raw: Any, codes: set[str], path: str) -> dict[str, Any]:
    """Check a user's file, strips its texts and write its codes in capitals.

    Args:
      raw: the file's content.
      codes: of the packaged countries.
      path: names the file in messages.

    Raises:
      UserError: one line with every fault.
    """
    known = ", ".join(_FORMS)
    if not isinstance(raw, dict):
        raise UserError(f"{path}: expected a mapping with some of the keys {known}")
    faults = [f"unknown key {key!r} (known: {known})" for key in raw if key not in _FORMS]
    own: dict[str, Any] = {}
    for key, (fits, convert, expected) in _FORMS.items():
        if key in raw and fits(raw[key]):
            own[key] = convert(raw[key])
        elif key in raw:
            faults.append(f"{key} must be {expected}")
    facts = own.get("facts", {})
    for text in own.get("personas", []):
        if COUNTRY not in text:
            faults.append(f"personas: {text!r} lacks {COUNTRY}")
    for text in [*own.get("values", []), *itertools.chain(*facts.values())]:
        if COUNTRY in text:
            faults.append(f"{text!r} holds {COUNTRY}, which only personas may")
    codes = codes | set(own.get("countries", {}))
    for key, used in [("facts", facts), ("overlaps", itertools.chain(*own.get("overlaps", [])))]:
        for code in dict.fromkeys(used):
            if code not in codes:
                faults.append(f"{key}: {code!r} is not among the countries; add it there")
    if faults:
        raise UserError(" ".join(f"{path}: {'; '.join(faults)}".split()))
    return own


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _maps_codes(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, dict) and all(map(_is_text, value)) and all(map(fits, value.values()))
    )


def _stripped(listed: list[str]) -> list[str]:
    return [text.strip() for text in listed]


def _code(text: str) -> str:
    return text.strip().upper()


# YAML reads an unquoted NO as false, which is not Norway's code.
_CODES = 'country codes (in quotes: "NO")'
_FORMS: dict[str, tuple[Callable[[Any], bool], Callable[[Any], Any], str]] = {
    "personas": (_are_texts, _stripped, f"a list of texts with {COUNTRY}"),
    "values": (_are_texts, _stripped, "a list of texts"),
    "facts": (
        _maps_codes(_are_texts),
        lambda value: {_code(code): _stripped(listed) for code, listed in value.items()},
        f"a mapping from {_CODES} to lists of texts",
    ),
    "countries": (
        _maps_codes(_is_text),
        lambda value: {_code(code): name.strip() for code, name in value.items()},
        f"a mapping from {_CODES} to names",
    ),
    "overlaps": (
        lambda value: isinstance(value, list) and all(map(_are_texts, value)),
        lambda value: [list(map(_code, group)) for group in value],
        f"a list of lists of {_CODES}",
    ),
}
