"""Other wordings of VSM13: the same survey in other words, each of them its own."""

import collections
import dataclasses
import unicodedata

import numpy as np
import pytest

from jaxalign.errors import UserError
from jaxalign.survey import (
    Instrument,
    instrument_digest,
    item_means,
    load_instrument,
    load_wordings,
    make_scoring,
    read_written,
    scores_from_means,
)

VSM13 = load_instrument("vsm13")
WORDINGS = load_wordings(VSM13)
# Of vsm13-second when it was a survey file of its own: workdirs that evaluated on it hold this.
SECOND = "122bfe7dca10aadffe752406629c3fea5ff9a5ee7da77fe7878aed224a975207"


def texts(instrument: Instrument, scale: bool = True) -> set[str]:
    """Every text of a survey that a model can be shown, options with their scale's name."""
    items = instrument.items
    return {
        *instrument.instructions.values(),
        *(item.stem for item in items),
        *(item.text for item in items),
        *(f"{item.scale if scale else ''}{option}" for item in items for option in item.options),
    }


def scores(instrument: Instrument, answers_QA: np.ndarray) -> np.ndarray:
    scoring = make_scoring(instrument)
    return np.asarray(scores_from_means(scoring, item_means(scoring, answers_QA)))


def test_which_there_are():
    languages = collections.Counter(wording.language for wording in WORDINGS.values())
    assert languages == {"en": 8, "ar": 1, "zh": 1, "hi": 1, "es": 1}
    assert len({wording.title for wording in WORDINGS.values()} | {VSM13.title}) == 13


@pytest.mark.parametrize("name", WORDINGS)
def test_a_wording_is_the_same_survey(name):
    wording = WORDINGS[name]
    assert wording.name == f"vsm13-{name}" and not wording.validated
    assert not set(name) & set("/@+, ")
    words = {"text": "", "stem": "", "options": ()}
    same = [[dataclasses.replace(item, **words) for item in one.items] for one in (VSM13, wording)]
    assert same[0] == same[1]
    for key in ("dimensions", "coefficients", "scoring", "constant", "score_range", "notice"):
        assert getattr(wording, key) == getattr(VSM13, key)
    assert wording.instructions.keys() == VSM13.instructions.keys()
    assert wording.instruction == wording.instructions["numbers"]


@pytest.mark.parametrize("name", WORDINGS)
def test_items_share_a_stem_where_they_do_in_the_base(name):
    pairs = {
        (one.stem, other.stem) for one, other in zip(VSM13.items, WORDINGS[name].items, strict=True)
    }
    assert len(pairs) == len({one for one, _ in pairs}) == len({other for _, other in pairs})


@pytest.mark.parametrize("name", ["vsm13", *(f"vsm13-{name}" for name in WORDINGS)])
def test_options_and_items_differ_and_the_rising_scale_is_the_other_turned_round(name):
    instrument = load_instrument(name)
    scales = {item.scale: item.options for item in instrument.items}
    assert all(len(set(options)) == 5 for options in scales.values())
    assert scales["frequency_rising"] == scales["frequency"][::-1]
    assert len({item.text for item in instrument.items}) == 24
    assert len(set(instrument.instructions.values())) == 3


def test_no_text_stands_in_two_wordings():
    every = [VSM13, *WORDINGS.values()]
    counts = collections.Counter(text for each in every for text in texts(each))
    assert [text for text, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("name", WORDINGS)
def test_the_same_answers_have_the_same_scores(name):
    answers_QA = np.random.default_rng(0).dirichlet(np.ones(5), 24)
    np.testing.assert_array_equal(scores(WORDINGS[name], answers_QA), scores(VSM13, answers_QA))


@pytest.mark.parametrize(
    ("language", "script"), [("ar", "ARABIC"), ("zh", "CJK"), ("hi", "DEVANAGARI")]
)
def test_another_script_is_used_throughout(language, script):
    wording = next(each for each in WORDINGS.values() if each.language == language)
    for text in texts(wording, scale=False):
        letters = [unicodedata.name(letter) for letter in text if letter.isalpha()]
        assert letters and all(letter.startswith(script) for letter in letters), text


@pytest.mark.parametrize("name", WORDINGS)
def test_a_written_label_or_option_is_read_as_the_option(name):
    scales = {item.scale: item for item in WORDINGS[name].items}
    for item in scales.values():
        for place, (label, option) in enumerate(zip(item.labels, item.options, strict=True)):
            for text in (label, option, f"{option.capitalize()}.", f"{label} = {option}"):
                assert read_written(text, item.labels, item.options).option == place, text


@pytest.mark.parametrize("name", WORDINGS)
def test_a_wording_is_loaded_by_its_name(name):
    assert load_instrument(f"vsm13-{name}") == WORDINGS[name]


def test_the_second_wording_is_what_it_was():
    assert instrument_digest(load_instrument("vsm13-second")) == SECOND


def test_only_the_packaged_survey_has_other_wordings():
    assert load_wordings(load_instrument("example_values")) == {}
    assert load_wordings(WORDINGS["second"]) == {}
    assert load_wordings(dataclasses.replace(VSM13, instruction="One number.")) == {}


def test_an_unknown_wording_is_refused_with_the_known_ones():
    with pytest.raises(UserError) as error:
        load_instrument("vsm13-scond")
    message = str(error.value)
    assert len(message.splitlines()) == 1 and "'vsm13-scond'" in message
    assert all(f"vsm13-{name}" in message for name in WORDINGS)
