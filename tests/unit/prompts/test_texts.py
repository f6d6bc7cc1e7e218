"""Starting texts: distinct, seeded, never naming a country that is searched for; users' files."""

import dataclasses
import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxalign.errors import UserError
from jaxalign.prompts import Texts, encode, encode_texts, load_texts, starting_texts
from jaxalign.survey import load_targets

TEXTS = load_texts()
COUNTRIES = TEXTS.countries
KEYS = ("PDI", "IDV", "MAS", "UAI", "LTO", "IVR")


FACTS = [text for _, text in TEXTS.facts]
# Other words that give a country away; no packaged value or fact may hold one.
DEMONYMS = """
    Saudi Chinese Indian American America German Japanese British UK England English Korean
    Korea Turkish French Brazilian Dutch Holland Portuguese Spanish Greek Bangladeshi Slovak
    Arab Argentine Australian Austrian Belgian Canadian Chilean Colombian Czech Danish Finnish
    Hungarian Indonesian Iranian Irish Italian Mexican Moroccan
""".split()


def draw(country: str, count: int, seed: int = 0, diverse: bool = False) -> list[str]:
    searched = [(country, TEXTS.countries[country])]
    return starting_texts(TEXTS, searched, count, np.random.default_rng(seed), diverse)


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
    for code, fact in TEXTS.facts:
        assert (fact.casefold() in drawn) == (code not in barred)


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
        for text in starting_texts(TEXTS, [("OWN", name)], 600, rng):
            assert name.casefold().removeprefix("the ") not in text.casefold()
            assert "Arab" not in text or "Saudi" not in name.title()


def before_facts(code: str, count: int, rng: np.random.Generator) -> list[str]:
    """The order that published runs rest on: no facts, one country."""
    barred = {code}.union(*(group for group in TEXTS.overlaps if code in group))
    names = [name for other, name in COUNTRIES.items() if other not in barred]
    wordings = {name: rng.permutation(TEXTS.personas) for name in names}
    rounds = [
        [str(wordings[name][turn]).format(country=name) for name in rng.permutation(names)]
        for turn in range(len(TEXTS.personas))
    ]
    values = [str(text) for text in rng.permutation(TEXTS.values)]
    return [*rounds[0], *values, *itertools.chain(*rounds[1:])][:count]


@pytest.mark.parametrize("code", ["SA", "CN", "IN", "US", "ARAB"])
def test_one_searched_country_draws_what_it_always_drew(code):
    for seed, count in itertools.product(range(3), (0, 9, 32, 64, 300, 500)):
        expected = before_facts(code, count, np.random.default_rng(seed))
        drawn = draw(code, count, seed)
        assert drawn[: len(expected)] == expected
        # Beyond the personas and values come the facts, then joins of all.
        own = [fact for other, fact in TEXTS.facts if fact in drawn[len(expected) :]]
        assert set(drawn[len(expected) : len(expected) + len(own)]) == set(own)
        assert len(own) <= count - len(expected)


def test_a_diverse_population_takes_the_kinds_in_turn():
    drawn = draw("CN", 12, diverse=True)
    for persona, value, fact in zip(drawn[0::3], drawn[1::3], drawn[2::3], strict=True):
        assert persona not in TEXTS.values and persona not in FACTS
        assert value in TEXTS.values and fact in FACTS
    for count in (33, 64, 436, 600):
        drawn = draw("CN", count, seed=1, diverse=True)
        assert len(set(drawn)) == count
        assert not [text for text in drawn if "China" in text or "Yangtze" in text]
    everything = 35 * len(TEXTS.personas) + len(TEXTS.values) + len(FACTS) - 2
    plain, diverse = (draw("CN", everything, seed=1, diverse=flag) for flag in (False, True))
    assert set(plain) == set(diverse) and plain != diverse


@given(codes=st.sets(st.sampled_from(list(COUNTRIES)), min_size=1), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_no_text_names_any_searched_country_nor_one_that_overlaps(codes, seed):
    searched = [(code, COUNTRIES[code]) for code in sorted(codes)]
    barred = codes.union(*(group for group in TEXTS.overlaps if codes & set(group)))
    drawn = starting_texts(TEXTS, searched, 80, np.random.default_rng(seed), seed % 2 == 0)
    assert len(set(drawn)) == 80
    everything = "\n".join(drawn).casefold()
    assert not [code for code in barred if bare(COUNTRIES[code]) in everything]
    assert not [
        fact for code, fact in TEXTS.facts if code in barred and fact.casefold() in everything
    ]


def test_values_alone_fill_any_count():
    everyone = list(COUNTRIES.items())
    drawn = starting_texts(TEXTS, everyone, 3000, np.random.default_rng(0))
    assert len(set(drawn)) == 3000 and set(drawn[:16]) == set(TEXTS.values)
    parts = [sum(value in text for value in TEXTS.values) for text in drawn]
    assert parts == sorted(parts) and parts[-1] == 4
    # As many draws as there are joins find 1 - 1/e of them.
    assert parts.count(2) == pytest.approx(math.perm(16, 2) * (1 - math.exp(-1)), rel=0.1)
    assert parts.count(3) == pytest.approx(math.perm(16, 3) * (1 - math.exp(-1)), rel=0.05)
    for text in drawn:
        rest = text
        for value in TEXTS.values:
            rest = rest.replace(value, "", 1)
        assert not rest.strip()


@pytest.mark.parametrize("values,most", [((), 0), (("Yes.",), 1), (("Yes.", "No."), 4)])
def test_the_search_for_more_texts_ends(values, most):
    few = dataclasses.replace(TEXTS, values=values)
    everyone = list(COUNTRIES.items())
    with pytest.raises(
        UserError, match=r"^search.population=99: only \d starting texts [^\n]+$"
    ) as error:
        starting_texts(few, everyone, 99, np.random.default_rng(0))
    found = int(re.search(r"only (\d)", str(error.value))[1])
    assert len(values) <= found <= most
    drawn = starting_texts(few, everyone, len(values), np.random.default_rng(0))
    assert set(drawn) == set(values)


def test_facts_are_known_countries_own():
    assert len({code for code, _ in TEXTS.facts}) >= 20 and len(set(FACTS)) == len(FACTS)
    assert {code for code, _ in TEXTS.facts} <= set(COUNTRIES)
    for code, fact in TEXTS.facts:
        others = [name for other, name in COUNTRIES.items() if other != code]
        assert not [name for name in others if bare(name) in fact.casefold()]
        words = re.findall(r"\w+", fact.replace(COUNTRIES[code], ""))
        allowed = {"England"} if code == "GB" else set()
        assert not set(DEMONYMS) & set(words) - allowed
    for value in TEXTS.values:
        assert not set(DEMONYMS) & set(re.findall(r"\w+", value))


def write(folder: Path, content: object) -> str:
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return str(path)


OWN = {
    "personas": [
        "  Ich komme aus {country}.  ",
        TEXTS.personas[0],
        "Unlike Japan, {country} {is}.",
    ],
    "values": ["Wer rastet, der rostet.", "In Japan they say so.", TEXTS.values[0]],
    "facts": {"vn": ["Hanoi lies on the Red River."], "JP": ["Kyoto was once the capital."]},
    "countries": {"vn": " Vietnam ", "NO": "Norway", "SEA": "Southeast Asia", "GB": "Britain"},
    "overlaps": [["vn", "SEA"]],
}


def test_a_users_texts_are_added(tmp_path):
    texts = load_texts(write(tmp_path, OWN))
    new = ("Ich komme aus {country}.", "Unlike Japan, {country} {is}.")
    assert texts.personas == (*TEXTS.personas, *new)
    assert texts.values == (*TEXTS.values, *OWN["values"][:2])
    assert texts.held_out == TEXTS.held_out
    own = (("VN", "Hanoi lies on the Red River."), ("JP", "Kyoto was once the capital."))
    assert texts.facts == (*TEXTS.facts, *own)
    added = {"VN": "Vietnam", "NO": "Norway", "SEA": "Southeast Asia", "GB": "Britain"}
    assert texts.countries == COUNTRIES | added
    assert texts.overlaps == (*TEXTS.overlaps, ("VN", "SEA"))


def test_any_part_may_be_left_out(tmp_path):
    assert load_texts(write(tmp_path, {})) == load_texts("") == TEXTS
    texts = load_texts(write(tmp_path, {"facts": {"BE": ["Brussels is a city."]}}))
    assert texts == dataclasses.replace(TEXTS, facts=(*TEXTS.facts, ("BE", "Brussels is a city.")))


def users(tmp_path: Path, searched: list[tuple[str, str]], count: int) -> str:
    texts: Texts = load_texts(write(tmp_path, OWN))
    return "\n".join(starting_texts(texts, searched, count, np.random.default_rng(0)))


def test_a_users_texts_never_name_a_searched_country_either(tmp_path):
    drawn = users(tmp_path, [("JP", "Japan")], 700)
    assert "Japan" not in drawn and "Kyoto" not in drawn
    for kept in ("rostet", "aus Norway", "Red River", "aus Southeast Asia"):
        assert kept in drawn
    drawn = users(tmp_path, [("SEA", "Southeast Asia")], 700)
    assert not re.search("Asia|Vietnam|Hanoi", drawn)
    assert "Unlike Japan, Norway {is}." in drawn and "In Japan they say so." in drawn


def test_names_count_as_whole_words_and_in_longer_forms():
    several = {"NE": "Niger", "NG": "Nigeria", "US": "the United States", "KR": "South Korea"}
    texts = dataclasses.replace(TEXTS, countries=several, facts=(), overlaps=())

    def named(*searched: tuple[str, str]) -> str:
        return " ".join(starting_texts(texts, searched, 60, np.random.default_rng(0)))

    drawn = named(("NE", "Niger"))
    assert "Nigeria" in drawn and not re.search(r"\bNiger\b", drawn)
    assert "States" not in named(("X", "United States of America"), ("Y", "Nigeria"))
    assert "Korea" not in named(("X", "Korea"))


@pytest.mark.parametrize(
    "content,said",
    [
        (["a"], "expected a mapping with some of the keys personas, values, facts"),
        (None, "expected a mapping"),
        ({"persona": []}, "unknown key 'persona' (known: personas, values"),
        ({"held_out": ["I am {country}."]}, "unknown key 'held_out'"),
        ({"personas": "I am from {country}."}, "personas must be a list of texts"),
        ({"personas": ["I am.\nYes."]}, r"personas: 'I am.\nYes.' lacks {country}"),
        ({"values": ["Good.", 3]}, "values must be a list of texts"),
        ({"values": ["Good.", " "]}, "values must be a list of texts"),
        ({"values": ["{country} is good."]}, "'{country} is good.' holds {country}, which only"),
        ({"facts": {"JP": ["{country} is old."]}}, "holds {country}"),
        ({"facts": {"JP": "It is old."}}, "facts must be a mapping from country codes"),
        ({"facts": {"XX": ["It is old."]}}, "facts: 'XX' is not among the countries; add it there"),
        ({"facts": ["It is old."]}, "facts must be a mapping"),
        (
            {"countries": {False: "Norway"}},
            "countries must be a mapping from country codes (in quo",
        ),
        ({"countries": {"NO": None}}, "countries must be a mapping"),
        ({"overlaps": [["JP", "XX"]]}, "overlaps: 'XX' is not among the countries"),
        ({"overlaps": ["JP"]}, "overlaps must be a list of lists"),
    ],
)
def test_a_faulty_file_is_one_line_that_names_the_file_and_the_key(content, said, tmp_path):
    path = write(tmp_path, content)
    with pytest.raises(UserError) as error:
        load_texts(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ") and said in message and "\n" not in message


def test_all_faults_are_said_at_once(tmp_path):
    content = {"more": 1, "values": 2, "personas": ["None."], "facts": {"XX": ["It is."]}}
    with pytest.raises(
        UserError, match=r"unknown key 'more'.*; values must.*; personas: .*; facts: "
    ):
        load_texts(write(tmp_path, content))


def test_an_unreadable_file_is_one_line(tmp_path):
    for path in (tmp_path / "missing.yaml", tmp_path, Path("~nobody-here/x.yaml")):
        with pytest.raises(UserError, match=r"^prompt.texts=[^\n]*cannot read it \([^\n]*$"):
            load_texts(str(path))
    (tmp_path / "bytes.yaml").write_bytes(b"values: [\xff]")
    with pytest.raises(UserError, match=r"^prompt.texts=[^\n]*cannot read it [^\n]*$"):
        load_texts(str(tmp_path / "bytes.yaml"))
    (tmp_path / "open.yaml").write_text("values: [a,\nb: c")
    with pytest.raises(UserError, match=r"open.yaml: not valid YAML \([^\n]*$"):
        load_texts(str(tmp_path / "open.yaml"))
