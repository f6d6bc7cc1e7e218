"""The model's own tokenizer and chat template."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxalign.errors import UserError
from jaxalign.files import explain, open_gguf
from jaxalign.prompts.templates import set_template, template_of

# The templates of Llama 3.1 and 3.2 print a date, by default today's, and others call strftime_now
# whatever they are given: a prompt must not depend on the day.
_DATE = "26 Jul 2024"
_FIXED_DAY = f"{{% macro strftime_now(format) %}}{_DATE}{{% endmacro %}}{{{{ '' }}}}"

# Tokens that end a text or a turn wherever a tokenizer has them: some checkpoints name only the end
# of a text, while their answers end with a turn.
_ENDS = ("<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|im_end|>", "<|endoftext|>", "</s>")


def load_tokenizer(folder: Path, template: str = "") -> Any:
    """Load the tokenizer of a model folder or a GGUF file, never running code of the checkpoint.

    Args:
      folder: the folder or the file.
      template: as `model.chat_template`.

    Raises:
      UserError: there is none, or it or the template cannot be read.
    """
    # Without torch, which only the tests want, transformers warns at import that it has no models.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    from transformers import AutoTokenizer

    # transformers would take a pointer of chat_template.jinja for the template.
    for file in (*folder.glob("*.json"), *folder.glob("*.jinja"), *folder.glob("tokenizer.model")):
        if pointer := explain(file, ""):
            raise UserError(f"{file}: {pointer}")
    try:
        if folder.suffix.lower() == ".gguf":
            tokenizer = _tokenizer_of_gguf(folder)
        else:
            tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{folder}: no usable tokenizer ({reason}); tokenizer.json belongs beside the weights"
        ) from error
    set_template(tokenizer, template)
    return tokenizer


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
    adds_bos = fields.get("tokenizer.ggml.add_bos_token")
    # llama.cpp puts BOS before a sentencepiece vocabulary that does not say otherwise.
    if adds_bos.contents() if adds_bos else described["tokenizer_type"] == "llama":
        special["add_bos_token"] = True
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

    Where the template takes no system message, its text stands before the first question. The text
    opens with the BOS token wherever the tokenizer would put one, whatever the template does.

    Args:
      tokenizer: a transformers tokenizer.
      user: the message to be answered.
      system: text of a system message, or None.
      before: earlier messages of the user, each with the assistant's answer.

    Raises:
      UserError: there is no template, or it refuses the messages or leaves one out.
    """
    messages = []
    for question, answer in before:
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": answer})
    messages.append({"role": "user", "content": user})
    if not system:
        return _render(tokenizer, messages)
    try:
        return _render(tokenizer, [{"role": "system", "content": system}, *messages])
    except UserError:
        first, *others = messages
        folded = {"role": "user", "content": f"{system.strip()}\n\n{first['content']}"}
        return _render(tokenizer, [folded, *others])


def _render(tokenizer: Any, messages: Sequence[dict[str, str]]) -> str:
    template, _ = template_of(tokenizer)
    try:
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
    first = tokenizer.bos_token
    adds_first = first and tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
    return f"{first}{text}" if adds_first and first not in text else text


def describe_chat(tokenizer: Any, wanted: str) -> str:
    """Say in words which template is used and what it puts between a question and its answer.

    Args:
      tokenizer: a transformers tokenizer.
      wanted: `model.chat_template`, which it was loaded with.
    """
    question = "QUESTION"
    origin = f"model.chat_template={wanted}" if wanted else template_of(tokenizer)[1]
    try:
        _render(tokenizer, [{"role": r, "content": r} for r in ("system", "user")])
    except UserError:
        origin += " (no system role: personas stand before the question)"
    text = render_chat(tokenizer, question)
    return f"{origin}; between question and answer {text.rpartition(question)[2]!r}"


def encode(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a text that already holds its special tokens."""
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def end_ids(tokenizer: Any) -> set[int]:
    """Return the ids of the tokens that end a text or a turn, as named by the tokenizer."""
    added = tokenizer.get_added_vocab()
    own = set() if tokenizer.eos_token_id is None else {tokenizer.eos_token_id}
    return own | {added[name] for name in _ENDS if name in added}
