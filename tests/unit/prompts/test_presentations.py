"""Presentations: levels dealt out whole, so that what proves a prompt never made it."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxalign.errors import UserError
from jaxalign.prompts import (
    FACTORS,
    alone,
    ask_presentation,
    build_questions,
    draw_sets,
    find_sets,
    read_levels,
    render_chat,
)
from jaxalign.survey import load_instrument

VSM13 = load_instrument("vsm13")
LEVELS = read_levels(VSM13)
OTHERS = read_levels(load_instrument("example_values"))
USUAL = {"order": {"identity", "reversed"}, "labels": {"own"}}


def levels_of(ways, factor):
    return {way.levels[factor] for way in ways}


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), size=st.integers(1, 40), languages=st.sampled_from(["", "all"])
)
def test_no_level_of_the_test_is_in_a_set_that_made_the_prompt(seed, size, languages):
    levels = read_levels(VSM13, [languages])
    tune, choose, test = draw_sets(levels, size, seed)
    assert len(tune) == size and len(choose) == 4 and len(test) == 12
    for one in (tune, choose, test):
        assert len(set(way.name for way in one)) == len(one)
    for factor in FACTORS:
        tuned, chosen, tested = (levels_of(one, factor) for one in (tune, choose, test))
        assert not tested & (tuned | chosen)
        assert chosen - tuned and len(chosen) > 1  # one odd level alone decides nothing
    assert tune[0].name == "identity"
    abroad = {name for name, each in levels.wordings.items() if each.language != "en"}
    assert bool(levels_of(test, "wording") & abroad) == (languages == "all")


@given(seed=st.integers(0, 1000), count=st.integers(1, 24))
@settings(max_examples=20, deadline=None)
def test_levels_of_a_set_occur_equally_often(seed, count):
    tune, _, test = draw_sets(LEVELS, 24, seed)
    for one in (tune[1:], test):  # the first one is always the usual
        for factor in FACTORS:
            counts = [
                sum(way.levels[factor] == each for way in one) for each in levels_of(one, factor)
            ]
            assert max(counts) - min(counts) <= 3  # one, but for draws that were there already


def test_the_test_does_not_depend_on_how_many_are_tuned_on():
    sets = [draw_sets(LEVELS, size, 5) for size in (1, 4, 16)]
    assert sets[0].test == sets[1].test == sets[2].test
    assert sets[0].tune == sets[2].tune[:1] and sets[1].tune == sets[2].tune[:4]
    assert find_sets(LEVELS, ["identity", "reversed"], 5).test == sets[0].test
    assert draw_sets(LEVELS, 4, 6).test != sets[0].test


@pytest.mark.parametrize("seed", range(5))
def test_a_level_that_was_given_by_name_leaves_the_test(seed):
    test = draw_sets(LEVELS, 1, seed).test
    seen = test[0].levels
    tune, choose, left = find_sets(LEVELS, ["identity", f"identity@{seen['wording']}"], seed)
    assert [way.name for way in tune] == ["identity", f"identity@{seen['wording']}"]
    assert choose == () and 0 < len(left) < len(test)
    assert seen["wording"] not in levels_of(left, "wording")


def test_names_are_read_and_told_again():
    for way in draw_sets(read_levels(VSM13, ["all"]), 60, 0).tune:
        assert read_levels(VSM13, ["all"]).parse(way.name) == way


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("identity@fomal", "wording 'fomal': there are second, formal"),
        ("identity@", "wording '': there are"),
        ("identity+brief+survey", "one system message and one conversation at most"),
        ("identity+loud", "message 'loud': there are brief"),
        ("backwards@formal", "ORDER or ORDER/LABELS"),
        ("identity@spanish", "wording 'spanish'"),
    ],
)
def test_a_wrong_name_is_refused_in_one_line(name, why):
    with pytest.raises(UserError, match=why) as error:
        LEVELS.parse(name)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    "names", [["pool:0"], ["pool:x"], ["pool:"], ["pool", "identity"], ["pool:-1"]]
)
def test_a_wrong_pool_is_refused(names):
    if names == ["pool:"]:
        assert len(find_sets(LEVELS, names, 0).tune) == 8
        return
    with pytest.raises(UserError, match="a pool stands alone"):
        find_sets(LEVELS, names, 0)


def test_a_survey_without_other_wordings_has_what_is_left():
    tune, choose, test = draw_sets(OTHERS, 6, 0)
    assert len(tune) == 6 and choose and test
    assert levels_of(tune, "wording") == levels_of(test, "wording") == {""}
    for factor in ("order", "system", "conversation"):
        assert not levels_of(test, factor) & levels_of((*tune, *choose), factor)


def test_one_unusual_level_at_a_time():
    way = LEVELS.parse("cyclic2/letters@formal+brief+weather")
    assert [one.name for one in alone(LEVELS, way)] == [
        "cyclic2",
        "identity/letters",
        "identity@formal",
        "identity+brief",
        "identity+weather",
    ]
    assert alone(LEVELS, LEVELS.parse("reversed")) == []


def test_what_the_model_reads(tiny_problem):
    way = LEVELS.parse("reversed/letters@terse+brief+arithmetic")
    one = ask_presentation(way, "You are from Chile.")[0]
    text = render_chat(tiny_problem.tokenizer, one.user, one.system, one.before)
    parts = [
        "Answer briefly. You are from Chile.",
        "How much is 60 plus 18?",
        "Half of 78 is 39.",
        "Dream job. Weight of:\nA = nil",
        "Answer (one letter):\nfamily time",
    ]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert one.labels == ("E", "D", "C", "B", "A")


def test_questions_of_many_presentations_are_one_tree(tiny_problem):
    tune = draw_sets(LEVELS, 4, 0).tune
    together = build_questions(VSM13, tiny_problem.tokenizer, presentations=tune)
    each = [build_questions(VSM13, tiny_problem.tokenizer, presentations=[way]) for way in tune]
    assert len(together.trie.answer_nodes_Q) == 24 * 4
    assert together.trie.size < sum(one.trie.size for one in each)
    with pytest.raises(UserError, match="in presentation identity@formal"):
        broken = dataclasses.replace(
            LEVELS.wordings["formal"].items[0], labels=("1", "1", "2", "3", "4")
        )
        formal = dataclasses.replace(LEVELS.wordings["formal"], items=(broken,))
        way = dataclasses.replace(LEVELS.parse("identity@formal"), instrument=formal)
        build_questions(VSM13, tiny_problem.tokenizer, presentations=[way])
