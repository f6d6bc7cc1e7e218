"""The packaged system messages and earlier exchanges have the form that is promised."""

from importlib import resources

import yaml

from jaxalign.prompts import load_texts

FILE = resources.files("jaxalign.prompts") / "data" / "presentations.yaml"
RAW = yaml.safe_load(FILE.read_text(encoding="utf-8"))


def test_there_are_eight_systems():
    assert len(set(RAW["systems"].values())) == 8


def test_conversations_are_pairs_of_texts():
    assert len(RAW["conversations"]) == 4
    for pairs in RAW["conversations"].values():
        assert 1 <= len(pairs) <= 2
        assert all(isinstance(user, str) and isinstance(said, str) for user, said in pairs)


def test_names_fit_the_name_of_a_format_and_no_text_names_a_country():
    assert not set("".join([*RAW["systems"], *RAW["conversations"]])) & set("/@+, ")
    said = str(RAW)
    assert not [name for name in load_texts().countries.values() if name in said]
