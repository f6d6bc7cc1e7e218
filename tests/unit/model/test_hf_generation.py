"""Stop tokens of a model folder."""

import json

import pytest

from jaxalign.errors import UserError
from jaxalign.model import EMBEDDED, read_stop_ids, resolve


def test_both_files_count(tmp_path):
    assert read_stop_ids(tmp_path) == set()
    (tmp_path / "config.json").write_text(json.dumps({"eos_token_id": 7}))
    assert read_stop_ids(tmp_path) == {7}
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [8, 9]}))
    assert read_stop_ids(tmp_path) == {7, 8, 9}
    (tmp_path / "config.json").write_text(json.dumps({"eos_token_id": None}))
    assert read_stop_ids(tmp_path) == {8, 9}


def test_as_transformers_reads_them():
    transformers = pytest.importorskip("transformers")
    folder = resolve(EMBEDDED)
    config = transformers.AutoConfig.from_pretrained(folder)
    assert read_stop_ids(folder) == {config.eos_token_id}


@pytest.mark.parametrize(
    "content",
    ['{"eos_token_id": "<s>"}', '{"eos_token_id": [1, true]}', '{"eos_token_id": [-1]}',
     "[1]", "{", "\xff"],
)  # fmt: skip
def test_a_broken_file_is_named(tmp_path, content):
    (tmp_path / "generation_config.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=r"generation_config\.json") as raised:
        read_stop_ids(tmp_path)
    assert "\n" not in str(raised.value)
