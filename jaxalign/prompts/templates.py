"""Chat templates for tokenizers that carry none, and which of them suits a vocabulary."""

from pathlib import Path
from typing import Any

from jaxalign.errors import UserError
from jaxalign.files import read_bytes

# Llama 3's instruct format.
LLAMA3 = (
    "{% for message in messages %}"
    "{% if loop.first %}{{ bos_token }}{% endif %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
    "{{ message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
    "{% endif %}"
)
# That of Qwen, SmolLM and many others.
CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] | trim + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# For base models, which were tuned on no format: texts in a row.
PLAIN = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ 'Answer: ' }}{% endif %}"
    "{{ message['content'] | trim + '\n\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Answer:' }}{% endif %}"
)
TEMPLATES = {"llama3": LLAMA3, "chatml": CHATML, "plain": PLAIN}
# A family's template means something only to a vocabulary in which these are tokens.
_MARKERS = {
    "llama3": ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    "chatml": ("<|im_start|>", "<|im_end|>"),
}


def set_template(tokenizer: Any, wanted: str) -> None:
    """Give a tokenizer the template that `model.chat_template` names.

    Args:
      tokenizer: a transformers tokenizer.
      wanted: a name of `TEMPLATES` or the path of a Jinja file; empty changes nothing.

    Raises:
      UserError: the file cannot be read.
    """
    if not wanted:
        return
    try:
        file = Path(wanted).expanduser()
        tokenizer.chat_template = TEMPLATES.get(wanted) or read_bytes(file).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"model.chat_template={wanted!r}: cannot be read ({error}); give a file of Jinja or "
            f"one of {', '.join(TEMPLATES)}"
        ) from None


def template_of(tokenizer: Any) -> tuple[str, str]:
    """Return a tokenizer's template, and in words where it comes from.

    Raises:
      UserError: it has none, and its vocabulary has no known family's markers.
    """
    if tokenizer.chat_template:
        return tokenizer.get_chat_template(), "the tokenizer's own template"
    vocabulary = tokenizer.get_vocab()
    for name, markers in _MARKERS.items():
        if all(marker in vocabulary for marker in markers):
            return TEMPLATES[name], f"the template {name}, whose markers are in the vocabulary"
    raise UserError(
        f"the tokenizer of {tokenizer.name_or_path} has no chat template: give "
        f"model.chat_template, a file of Jinja or one of {', '.join(TEMPLATES)} (plain suits a "
        "base model)"
    )
