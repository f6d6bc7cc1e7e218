"""The rules that read a written answer, one table for each kind of label."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxalign.survey import (
    OPTION,
    REFUSAL,
    UNPARSED,
    Reading,
    load_instrument,
    read_written,
    written,
)

NUMBERS, LETTERS = ("1", "2", "3", "4", "5"), ("A", "B", "C", "D", "E")
IMPORTANCE = (
    "essential",
    "important",
    "moderately important",
    "slightly important",
    "unimportant",
)
FREQUENCY = ("all the time", "often", "now and then", "rarely", "never")
AGREEMENT = ("yes fully", "rather yes", "neither yes nor no", "rather no", "not at all")


def check(table, labels, options):
    wrong = {}
    for text, (option, rule) in table.items():
        kind = OPTION if option is not None else REFUSAL if rule == "refusal" else UNPARSED
        reading = read_written(text, labels, options)
        if reading != Reading(option, kind, rule):
            wrong[text] = reading
    assert not wrong


def test_numbers_as_labels():
    table = {
        # A label, whatever stands around it.
        "3": (2, "label"),
        " 3\n": (2, "label"),
        "3.": (2, "label"),
        "(3)": (2, "label"),
        "3)": (2, "label"),
        "**3**": (2, "label"),
        '"3"': (2, "label"),
        "٣": (2, "label"),
        "３": (2, "label"),
        # First, and a word does not follow.
        "3. moderately important": (2, "leading"),
        "3 = moderately important": (2, "leading"),
        "3) It is important to me": (2, "leading"),
        "(3) because": (2, "leading"),
        "- 3: family": (2, "leading"),
        "3\nBecause I am important": (2, "leading"),
        "3, as an AI I cannot say more": (2, "leading"),
        # Somewhere in the text.
        "I would say 3": (2, "named"),
        "I would say 3 because": (2, "named"),
        "My answer is: 3.": (2, "named"),
        "Option 3": (2, "named"),
        "Option 3 fits me best": (2, "named"),
        "moderately important (3)": (2, "named"),
        "I am not sure, 3": (2, "named"),
        "No. 3": (2, "named"),
        # Words.
        "Three.": (2, "number word"),
        "option five": (4, "number word"),
        "3 moderately important": (2, "words"),
        # More than one, or one against another.
        "1 to 5": (None, "ambiguous"),
        "1-5": (None, "ambiguous"),
        "3/5": (None, "ambiguous"),
        "3 out of 5": (None, "ambiguous"),
        "2 or 3": (None, "ambiguous"),
        "I would say 3, not 4": (None, "ambiguous"),
        "On a scale of 1 to 5, a 4": (None, "ambiguous"),
        "3 = important": (None, "ambiguous"),
        "3 important": (None, "ambiguous"),
        "2 superiors, unimportant": (None, "ambiguous"),
        "3 3 4": (None, "ambiguous"),
        # Not a label, though a digit is there.
        "3.5": (None, "nothing"),
        "30": (None, "nothing"),
        "3%": (None, "nothing"),
        "at 3:30": (None, "nothing"),
        "3rd": (None, "nothing"),
        "6": (None, "nothing"),
        "2 superiors": (None, "nothing"),
        "not 4": (None, "nothing"),
        "I wouldn't say 4": (None, "nothing"),
        "two of them": (None, "nothing"),
        "six": (None, "nothing"),
        "": (None, "nothing"),
        "...": (None, "nothing"),
        "It depends.": (None, "nothing"),
    }
    check(table, NUMBERS, IMPORTANCE)


def test_letters_as_labels():
    table = {
        "A": (0, "label"),
        "a": (0, "label"),
        "b.": (1, "label"),
        "A. A good boss": (0, "leading"),
        "A) good": (0, "leading"),
        "B, because A good boss": (1, "leading"),
        "I would say A.": (0, "named"),
        "Option A good": (0, "named"),
        "I pick B because": (1, "named"),
        "The answer is (C)": (2, "named"),
        "A good boss is important": (1, "words"),
        "a slightly important thing": (3, "words"),
        "A or B": (None, "ambiguous"),
        "A, B": (None, "ambiguous"),
        "A/B": (None, "ambiguous"),
        "A good boss": (None, "nothing"),
        "Neither A nor B": (None, "nothing"),
        "I like a.": (None, "nothing"),
        "A-level": (None, "nothing"),
        "A's": (None, "nothing"),
        "Apple": (None, "nothing"),
        "3": (None, "nothing"),
        "N/A": (None, "refusal"),
    }
    check(table, LETTERS, IMPORTANCE)


def test_words_of_options():
    importance = {
        "Moderately important.": (2, "words"),
        "That is  slightly\nimportant": (3, "words"),
        "Unimportant": (4, "words"),
        "It is important": (1, "words"),
        "extremely important": (None, "nothing"),
        "not very important": (None, "nothing"),
        "not important": (None, "nothing"),
        "This isn't really that important": (None, "nothing"),
        "importantly": (None, "nothing"),
        "important or essential": (None, "ambiguous"),
        "important. Moderately important": (None, "ambiguous"),
    }
    check(importance, NUMBERS, IMPORTANCE)
    longest = ("extremely important", "important", "not important")
    table = {
        "extremely important": (0, "words"),
        "important": (1, "words"),
        "Not important!": (2, "words"),
    }
    check(table, NUMBERS[:3], longest)
    frequency = {
        "All the time": (0, "words"),
        "now and then": (2, "words"),
        "I am never sad": (4, "words"),
        "often, rarely": (None, "ambiguous"),
        "I do not worry often": (None, "nothing"),
        "I have not thought about it. Often": (1, "words"),
    }
    check(frequency, NUMBERS, FREQUENCY)
    agreement = {
        "Neither yes nor no": (2, "words"),
        "rather no": (3, "words"),
        "Not at all": (4, "words"),
        "yes": (None, "nothing"),
    }
    check(agreement, NUMBERS, AGREEMENT)


def test_options_as_their_own_labels():
    table = {
        "important": (1, "label"),
        "Moderately important.": (2, "label"),
        "I find it moderately important": (2, "words"),
        "3": (None, "nothing"),
        "three": (None, "nothing"),
    }
    check(table, IMPORTANCE, IMPORTANCE)
    check({"Yes, I do": (0, "words"), "No.": (1, "label")}, ("Yes", "No"), ("right", "wrong"))


def test_labels_with_signs_and_two_digits():
    labels, options = ("-1", "0", "1", "10"), ("against", "neutral", "for", "all for")
    table = {
        "-1": (0, "label"),
        "1": (2, "label"),
        "I say -1.": (0, "named"),
        "I say 10": (3, "named"),
        "ten": (3, "number word"),
    }
    check(table, labels, options)


@pytest.mark.parametrize(
    "text",
    [
        "I cannot answer that",
        "I can’t",
        "As an AI, I do not",
        "As a large language model",
        "I'm just an AI, so 3",
        "I am not able to choose",
        "Unable to say",
        "I don't have any personal feelings",
        "I do not have a body",
        "I'm sorry, but",
        "I apologize",
        "I must decline to answer",
        "I prefer not to say",
        "Not applicable",
        "I cannot say whether 1 or 2",
    ],
)
def test_refusals(text):
    assert read_written(text, NUMBERS, IMPORTANCE) == Reading(None, REFUSAL, "refusal")


def test_every_example_of_the_table_follows_its_rule():
    rows = re.findall(r"^\| `(.+?)` \| .* \| (`.+`) \|$", written.__doc__, re.M)
    assert len(rows) == 9
    for rule, examples in rows:
        for text in re.findall(r"`(.+?)`", examples):
            found = {
                read_written(text, labels, options).rule
                for labels in (NUMBERS, LETTERS)
                for options in (IMPORTANCE, FREQUENCY)
            }
            assert rule in found, text


def test_a_survey_reads_its_own_labels_and_options():
    for item in load_instrument("vsm13").items:
        for place, (label, option) in enumerate(zip(item.labels, item.options, strict=True)):
            for text in (label, option, f"{label} = {option}", f"Option {label}", option.upper()):
                reading = read_written(text, item.labels, item.options)
                assert reading.option == place, (item.id, text, reading)


@given(st.text(alphabet=st.sampled_from(" 12345ABa.,-/()'not\nimportant"), max_size=30))
def test_whoever_names_another_number_is_not_understood(text):
    reading = read_written(text, NUMBERS, IMPORTANCE)
    assert (reading.option is not None) == (reading.kind == OPTION)
    if reading.kind == OPTION:
        other = NUMBERS[(reading.option + 1) % 5]
        assert read_written(f"{text}; {other}.", NUMBERS, IMPORTANCE).kind == UNPARSED
