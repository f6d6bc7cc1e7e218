"""The model's own tokenizer and chat template."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxalign.errors import UserError
from jaxalign.files import open_gguf

# Llama 3's instruct format, for tokenizers that carry no template of their own.
LLAMA3_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first %}{{ bos_token }}{% endif %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
    "{{ message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
    "{% endif %}"
)
# The templates of Llama 3.1 and 3.2 print a date, by default today's, and others call strftime_now
# whatever they are given: a prompt must not depend on the day.
_DATE = "26 Jul 2024"
_FIXED_DAY = f"{{% macro strftime_now(format) %}}{_DATE}{{% endmacro %}}{{{{ '' }}}}"

# Tokens that end a text or a turn wherever a tokenizer has them: some checkpoints name only the end
# of a text, while their answers end with a turn.
_ENDS = ("<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|im_end|>", "<|endoftext|>", "</s>")


def load_tokenizer(folder: Path) -> Any:
    """Load the tokenizer of a model folder or a GGUF file, never running code of the checkpoint.

    Raises:
      UserError: there is none, or it cannot be read.
    """
    # Without torch, which only the tests want, transformers warns at import that it has no models.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    from transformers import AutoTokenizer

    try:
        if folder.suffix.lower() == ".gguf":
            return _tokenizer_of_gguf(folder)
        return AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{folder}: no usable tokenizer ({reason}); tokenizer.json belongs beside the weights"
        ) from error


def _tokenizer_of_gguf(path: Path) -> Any:
    """Build the tokenizer that a GGUF file describes, as transformers does but without torch."""
    from transformers import PreTrainedTokenizerFast
    from transformers.integrations.gguf import GGUF_TOKENIZER_MAPPING, convert_gguf_tokenizer

    fields = open_gguf(path).fields
    described = {
        ours: fields[f"tokenizer.{name}"].contents()
        for name, ours in GGUF_TOKENIZER_MAPPING["tokenizer"].items()
        if f"tokenizer.{name}" in fields
    }
    backend, _ = convert_gguf_tokenizer(fields["general.architecture"].contents(), described)
    special = {
        name: described["tokens"][described[f"{name}_id"]]
        for name in ("bos_token", "eos_token", "unk_token", "pad_token")
        if f"{name}_id" in described
    }
    template = fields.get("tokenizer.chat_template")
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        name_or_path=str(path),
        chat_template=template and template.contents(),
        **special,
    )


def render_chat(
    tokenizer: Any,
    user: str,
    system: str | None = None,
    before: Sequence[tuple[str, str]] = (),
) -> str:
    """Return the text up to and including the header of the assistant's answer.

    Args:
      tokenizer: a transformers tokenizer.
      user: the message to be answered.
      system: text of a system message, or None.
      before: earlier messages of the user, each with the assistant's answer.

    Raises:
      UserError: the template refuses the messages, for instance because it knows no system role,
        or leaves one out.
    """
    messages = [{"role": "system", "content": system}] if system else []
    for question, answer in before:
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": answer})
    messages.append({"role": "user", "content": user})
    try:
        template = tokenizer.get_chat_template() if tokenizer.chat_template else LLAMA3_TEMPLATE
        text = tokenizer.apply_chat_template(
            messages,
            chat_template=_FIXED_DAY + template if "strftime_now" in template else template,
            tokenize=False,
            add_generation_prompt=True,
            date_string=_DATE,
        )
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"chat template of {tokenizer.name_or_path}: {reason}") from error
    for message in messages:
        if message["content"].strip() not in text:
            raise UserError(
                f"chat template of {tokenizer.name_or_path}: it leaves out the "
                f"{message['role']} message"
            )
    return text


def encode(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a text that already holds its special tokens."""
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def end_ids(tokenizer: Any) -> set[int]:
    """Return the ids of the tokens that end a text or a turn, as named by the tokenizer."""
    added = tokenizer.get_added_vocab()
    own = set() if tokenizer.eos_token_id is None else {tokenizer.eos_token_id}
    return own | {added[name] for name in _ENDS if name in added}
