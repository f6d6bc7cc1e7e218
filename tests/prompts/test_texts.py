"""Starting texts: distinct, seeded, and never naming the country that is searched for."""

import numpy as np
import pytest

from jaxalign.prompts import encode, encode_texts, load_texts, starting_texts
from jaxalign.survey import load_targets

TEXTS = load_texts()
COUNTRIES = TEXTS.countries
KEYS = ("PDI", "IDV", "MAS", "UAI", "LTO", "IVR")


def draw(country: str, count: int, seed: int = 0) -> list[str]:
    name = TEXTS.countries[country]
    return starting_texts(TEXTS, country, name, count, np.random.default_rng(seed))


def bare(name: str) -> str:
    return name.casefold().removeprefix("the ")


@pytest.mark.parametrize("country", COUNTRIES)
def test_the_searched_country_is_never_named(country):
    barred = {country}
    for group in TEXTS.overlaps:
        if country in group:
            barred.update(group)
    drawn = "\n".join(draw(country, 1000)).casefold()
    for code in barred:
        assert bare(COUNTRIES[code]) not in drawn
    # Nor is it so because nothing is named: every other country is.
    for code in COUNTRIES.keys() - barred:
        assert bare(COUNTRIES[code]) in drawn


def test_a_country_and_a_group_that_holds_it_do_not_name_each_other():
    for country, other in [
        ("SA", "arab"),
        ("MA", "arab countries"),
        ("ARAB", "saudi"),
        ("ARAB", "morocco"),
    ]:
        assert other not in "\n".join(draw(country, 1000)).casefold()
    assert "arab countries" in "\n".join(draw("US", 1000)).casefold()


@pytest.mark.parametrize("country", ["SA", "US", "ARAB"])
def test_texts_are_distinct_and_as_many_as_asked(country):
    for count in [*range(0, 130, 13), 350, 500, 1000]:
        drawn = draw(country, count)
        assert len(drawn) == len(set(drawn)) == count
        assert all(type(text) is str and text.strip() and "{" not in text for text in drawn)


def test_texts_depend_on_the_seed_alone():
    assert draw("SA", 600, seed=3) == draw("SA", 600, seed=3)
    assert draw("SA", 600, seed=3) != draw("SA", 600, seed=4)


def test_a_small_population_is_one_persona_per_country_then_the_values():
    drawn = draw("SA", 34 + len(TEXTS.values))
    for text, names in zip(drawn[:34], [[*COUNTRIES.values()]] * 34, strict=True):
        assert sum(bare(name) in text.casefold() for name in names) == 1
    named = {next(n for n in COUNTRIES.values() if n in text) for text in drawn[:34]}
    assert len(named) == 34  # all but Saudi Arabia and the Arab countries
    assert set(drawn[34:]) == set(TEXTS.values)


def test_held_out_wordings_never_start_a_search():
    assert not set(TEXTS.held_out) & set(TEXTS.personas)
    held_out = {w.format(country=name) for w in TEXTS.held_out for name in COUNTRIES.values()}
    for country in ("SA", "CN", "IN", "US"):
        drawn = "\n".join(draw(country, 1000))
        assert not [text for text in held_out if text in drawn]


def test_wordings_hold_the_country_once_and_values_hold_none():
    assert all(w.count("{country}") == 1 for w in TEXTS.personas + TEXTS.held_out)
    for text in TEXTS.values:
        assert not [name for name in COUNTRIES.values() if bare(name) in text.casefold()]


def test_countries_are_those_with_a_target():
    targets = load_targets("hofstede2010", KEYS)
    assert set(COUNTRIES) == set(targets)
    for code, name in COUNTRIES.items():
        assert bare(name) == targets[code].country.casefold()
    assert {code for group in TEXTS.overlaps for code in group} <= set(COUNTRIES)


def test_texts_are_cut_or_repeated_to_length(trained):
    short, long = "Duty.", "Clear rules keep us safe from the unknown."
    short_ids, long_ids = encode(trained, short), encode(trained, long)
    length = len(short_ids) * 2 + 1
    assert len(long_ids) > length
    ids_PL = encode_texts(trained, [short, long], length)
    assert (ids_PL.dtype, ids_PL.shape) == (np.int32, (2, length))
    assert ids_PL[0].tolist() == [*short_ids, *short_ids, short_ids[0]]
    assert ids_PL[1].tolist() == long_ids[:length]


@pytest.mark.parametrize("country", ["SA", "CN", "IN", "US"])
def test_a_default_population_starts_from_distinct_rows(trained, country):
    ids_PL = encode_texts(trained, draw(country, 32), 9)
    assert len(np.unique(ids_PL, axis=0)) == 32


def test_a_country_is_barred_by_its_name_when_its_code_is_not_ours():
    rng = np.random.default_rng(0)
    for name in ("Saudi Arabia", "saudi arabia", "The United States"):
        for text in starting_texts(TEXTS, "OWN", name, 600, rng):
            assert name.casefold().removeprefix("the ") not in text.casefold()
            assert "Arab" not in text or "Saudi" not in name.title()
