"""Whole questions as embeddings, for engines that take these in place of text.

vLLM takes a tensor [tokens, D] per request: `{"prompt_embeds": tensor}` offline, the bytes of
`torch.save` in base64 over HTTP; SGLang takes the same as `input_embeds`, a list of rows. Both are
one call away from a tensor of a safetensors file, which needs no torch to be written.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxalign.interchange.base import BaseModel
from jaxalign.interchange.tuned import TunedPrompt
from jaxalign.prompts import (
    USUAL,
    Presentation,
    ask_presentation,
    encode,
    option_ids,
    read_levels,
    render_chat,
)
from jaxalign.survey import Instrument, Item


@dataclasses.dataclass(frozen=True)
class Question:
    """One item of a survey as the model reads it in one presentation.

    Attributes:
      tensor: what its tensor is called: the item's id, and the presentation if not the usual.
      item: of the survey.
      way: how it is put.
      text: rendered by the chat template, up to where the answer begins.
      tokens: of the text.
      option_tokens: the token of each option, in the survey's order.
    """

    tensor: str
    item: Item
    way: Presentation
    text: str
    tokens: tuple[int, ...]
    option_tokens: tuple[int, ...]


def ask(
    instrument: Instrument, tokenizer: Any, formats: Sequence[str] = ("identity",)
) -> tuple[Question, ...]:
    """Return the questions of a survey, all items in one presentation before the next.

    Raises:
      UserError: two options of a question begin with the same token, or an option has no token.
    """
    questions = []
    levels = read_levels(instrument, ["all"])
    for way in map(levels.parse, formats):
        for item, one in zip(way.instrument.items, ask_presentation(way), strict=True):
            name = item.id if way.name == USUAL.name else f"{item.id}:{way.name}"
            text = render_chat(tokenizer, one.user, one.system, one.before)
            others = tuple(label for label, _ in way.shown.nonresponse_of(item))
            ids = option_ids(tokenizer, text, one.labels + others, f"item {name}")
            options = tuple(ids[: len(one.labels)])
            tokens = tuple(encode(tokenizer, text))
            questions.append(Question(name, item, way, text, tokens, options))
    return tuple(questions)


def tensors_of(
    questions: Sequence[Question], rows: Mapping[int, np.ndarray], prompt_LD: np.ndarray
) -> dict[str, np.ndarray]:
    """For each question by name the soft prompt and then the text, float32 [L + tokens, D].

    float32 loses nothing of either; an engine casts to its own type, as the model casts the prompt.

    Args:
      questions: as `ask` gives them.
      rows: token to its row of the embedding table, float32 [D].
      prompt_LD: the soft prompt.
    """
    return {
        question.tensor: np.stack([*prompt_LD, *(rows[token] for token in question.tokens)])
        for question in questions
    }


def index_of(questions: Sequence[Question], tuned: TunedPrompt, base: BaseModel) -> dict[str, Any]:
    """Return the metadata: model, and text, options and option tokens of each question."""
    rows, width = tuned.prompt_LD.shape
    return {
        "notice": tuned.notice,
        "model": base.name,
        "revision": base.revision,
        "country": tuned.code,
        "survey": tuned.instrument.title,
        "soft_prompt_rows": rows,
        "width": width,
        "questions": [
            {
                "tensor": question.tensor,
                "item": question.item.id,
                "item_text": question.item.text,
                "format": question.way.name,
                "text": question.text,
                "rows": rows + len(question.tokens),
                "labels": question.way.shown.labels_of(question.item),
                "options": question.item.options,
                "values": question.item.values,
                "option_tokens": question.option_tokens,
            }
            for question in questions
        ],
    }
