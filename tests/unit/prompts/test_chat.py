"""Chat templates: the tokenizer's own, or one that suits its vocabulary, and never today's date."""

import datetime
import json

import pytest
from tokenizers import processors
from transformers import PreTrainedTokenizerFast

from jaxalign.errors import UserError
from jaxalign.prompts import describe_chat, encode, end_ids, load_tokenizer, render_chat

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


HEADERS = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]


def test_without_a_template_the_family_of_its_markers_is_taken(tiny):
    tokenizer = tiny([], template=None, special=HEADERS)
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
    assert describe_chat(tokenizer, "").startswith("the template llama3, whose markers are")
    tokenizer = tiny([], template=None, special=["<|im_start|>", "<|im_end|>"])
    assert render_chat(tokenizer, "Q", system="S", before=[("A?", "1")]) == (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nA?<|im_end|>\n"
        "<|im_start|>assistant\n1<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_without_template_and_markers_the_user_is_asked(tiny):
    with pytest.raises(UserError, match=r"no chat template: give model.chat_template.*plain"):
        render_chat(tiny([], template=None), "Q")


def test_model_chat_template_goes_first(tiny, tmp_path):
    tiny([], template="own {{ messages[0]['content'] }}")
    file = tmp_path / "mine.jinja"
    file.write_text("<{{ messages[0]['content'] }}>")
    assert render_chat(load_tokenizer(tmp_path / "tiny", str(file)), "Q") == "<Q>"
    plain = load_tokenizer(tmp_path / "tiny", "plain")
    assert render_chat(plain, "Q", before=[("A?", "1")]) == "A?\n\nAnswer: 1\n\nQ\n\nAnswer:"
    assert describe_chat(plain, "plain").startswith("model.chat_template=plain; between")
    with pytest.raises(UserError, match=r"model.chat_template='none.jinja': cannot be read.*plain"):
        load_tokenizer(tmp_path / "tiny", "none.jinja")


@pytest.mark.parametrize("template", ["{{ bos_token }}", "", "\n{{ bos_token }}"])
def test_a_tokenizer_that_puts_bos_first_has_it_once(tiny, template):
    """As Llama 2's, whose templates often leave BOS to the tokenizer."""
    tokenizer = tiny([], template + "[{{ messages[0]['content'] }}]")
    before = template.replace("{{ bos_token }}", "<s>")
    assert render_chat(tokenizer, "Q") == f"{before}[Q]"
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    assert render_chat(tokenizer, "Q") == f"{before or '<s>'}[Q]"
    assert encode(tokenizer, render_chat(tokenizer, "Q")).count(0) == 1


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


@pytest.mark.parametrize("template", [NO_SYSTEM, DROPS_SYSTEM], ids=["refuses", "drops"])
def test_a_system_message_that_is_not_taken_stands_before_the_question(tiny, template):
    tokenizer = tiny([], template)
    assert render_chat(tokenizer, "Q") == "[Q]"
    assert render_chat(tokenizer, "Q", system=" S\n") == "[S\n\nQ]"
    assert "(no system role: personas stand before the question)" in describe_chat(tokenizer, "")


def test_a_template_that_drops_the_question(tiny):
    with pytest.raises(UserError, match="it leaves out the user message") as error:
        render_chat(tiny([], "Hello"), "Q", system="S")
    assert len(str(error.value).splitlines()) == 1


def test_what_stands_between_question_and_answer_is_told(tiny):
    tokenizer = tiny([], "[{{ messages[0]['content'] + ']\n<think>\n' }}")
    said = describe_chat(tokenizer, "")
    assert said.endswith(r"between question and answer ']\n<think>\n'"), said


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
