"""Chat templates: the tokenizer's own, Llama 3's where there is none, and never today's date."""

import datetime
import json

import pytest
from transformers import PreTrainedTokenizerFast

from jaxalign.errors import UserError
from jaxalign.prompts import encode, end_ids, load_tokenizer, render_chat

NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role\nnot supported') }}{% endif %}[{{ messages[0]['content'] }}]"
)
DROPS_SYSTEM = (
    "{% for message in messages %}{% if message['role'] == 'user' %}"
    "[{{ message['content'] }}]{% endif %}{% endfor %}"
)
# The two ways in which templates come to a date; the first is Llama 3.2's.
LLAMA32_DATE = (
    "{%- if not date_string is defined %}{%- if strftime_now is defined %}"
    '{%- set date_string = strftime_now("%d %b %Y") %}{%- else %}'
    '{%- set date_string = "26 Jul 2024" %}{%- endif %}{%- endif %}'
    '{{- "Today Date: " + date_string + "\\n" }}{{ messages[0][\'content\'] }}'
)
OWN_DATE = (
    "{%- set today = strftime_now('%d %b %Y') -%}"
    "Today Date: {{ today }}\n{{ messages[0]['content'] }}"
)


def test_without_a_template_the_text_is_llama3s(tiny):
    tokenizer = tiny([], template=None)
    assert not tokenizer.chat_template
    assert render_chat(tokenizer, "  How often?\nReply. \n") == (
        "<s><|start_header_id|>user<|end_header_id|>\n\n"
        "How often?\nReply.<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )
    assert render_chat(tokenizer, "Q", system=" I live in Peru.") == (
        "<s><|start_header_id|>system<|end_header_id|>\n\n"
        "I live in Peru.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n"
        "Q<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_special_tokens_of_the_text_are_single_tokens_and_none_is_added(trained):
    text = render_chat(trained, "Q")
    tokens = trained.convert_ids_to_tokens(encode(trained, text))
    header = ["<|start_header_id|>", "user", "<|end_header_id|>", "ĊĊ"]
    assert tokens[:5] == ["<|begin_of_text|>", *header]
    assert tokens[-4:] == ["<|start_header_id|>", "assistant", "<|end_header_id|>", "ĊĊ"]
    assert tokens.count("<|begin_of_text|>") == 1


@pytest.mark.parametrize("text", ["", "a", "尊重规则 – naïve\n\n  x", "<|eot_id|>"])
def test_encode_loses_nothing(trained, text):
    assert trained.decode(encode(trained, text)) == text


def test_the_tokenizers_own_template_goes_first(tiny):
    assert render_chat(tiny([], "<{{ messages[0]['content'] }}>"), "Q") == "<Q>"


def test_a_template_that_refuses_a_system_role(tiny):
    tokenizer = tiny([], NO_SYSTEM)
    assert render_chat(tokenizer, "Q") == "[Q]"
    with pytest.raises(UserError, match=r"chat template of .*System role not supported") as error:
        render_chat(tokenizer, "Q", system="S")
    assert len(str(error.value).splitlines()) == 1


def test_a_template_that_drops_the_system_message(tiny):
    tokenizer = tiny([], DROPS_SYSTEM)
    assert render_chat(tokenizer, "Q") == "[Q]"
    with pytest.raises(UserError, match="it leaves out the system message"):
        render_chat(tokenizer, "Q", system="S")


def test_a_broken_template(tiny):
    with pytest.raises(UserError, match="chat template of "):
        render_chat(tiny([], "{% for %}"), "Q")


@pytest.mark.parametrize("template", [LLAMA32_DATE, OWN_DATE], ids=["llama3.2", "own"])
def test_the_prompt_does_not_depend_on_the_day(tiny, template):
    tokenizer = tiny([], template)
    today = datetime.datetime.now().strftime("%d %b %Y")
    plain = tokenizer.apply_chat_template([{"role": "user", "content": "Q"}], tokenize=False)
    assert plain == f"Today Date: {today}\nQ"  # so the template is one that would
    assert render_chat(tokenizer, "Q") == "Today Date: 26 Jul 2024\nQ"


def test_a_template_that_expects_a_date_is_given_one(tiny):
    template = "Today Date: {{ date_string }}\n{{ messages[0]['content'] }}"
    assert render_chat(tiny([], template), "Q") == "Today Date: 26 Jul 2024\nQ"


def test_a_folder_without_a_tokenizer(tmp_path):
    with pytest.raises(UserError, match="no usable tokenizer") as error:
        load_tokenizer(tmp_path)
    assert len(str(error.value).splitlines()) == 1
    assert str(tmp_path) in str(error.value)


def test_a_damaged_tokenizer(tmp_path, trained):
    trained.save_pretrained(str(tmp_path))
    path = tmp_path / "tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8")[:1000], encoding="utf-8")
    with pytest.raises(UserError, match="no usable tokenizer") as error:
        load_tokenizer(tmp_path)
    assert len(str(error.value).splitlines()) == 1


def test_code_beside_the_weights_never_runs(tmp_path, trained):
    trained.save_pretrained(str(tmp_path))
    ran = tmp_path / "ran"
    (tmp_path / "evil.py").write_text(f"open({str(ran)!r}, 'w').close()\nclass Evil: pass\n")
    path = tmp_path / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings |= {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", None]}}
    path.write_text(json.dumps(settings), encoding="utf-8")
    try:
        loaded = load_tokenizer(tmp_path)
    except UserError:
        pass
    else:
        assert isinstance(loaded, PreTrainedTokenizerFast)
    assert not ran.exists()


def test_tokens_that_end_an_answer(trained, tiny):
    ends = trained.convert_tokens_to_ids(["<|end_of_text|>", "<|eot_id|>"])
    assert end_ids(trained) == set(ends)
    assert end_ids(tiny([])) == set()
