"""What an export may be: name ─► what writes one country's files."""

import io
import json
from collections.abc import Callable

import numpy as np

from jaxalign.errors import UserError
from jaxalign.interchange import adapter
from jaxalign.interchange.base import BaseModel
from jaxalign.interchange.embeds import ask, index_of, tensors_of
from jaxalign.interchange.reading import ARRAY, TENSOR
from jaxalign.interchange.tuned import TunedPrompt
from jaxalign.model import on_disk, read_embeddings, resolve, to_safetensors, weights_digest
from jaxalign.prompts import load_tokenizer
from jaxalign.survey import instrument_digest

Files = dict[str, bytes]
Writer = Callable[[TunedPrompt], Files]


def peft(base: BaseModel, run: TunedPrompt) -> Writer:
    """Write the folder of an adapter that PEFT loads."""

    def write(tuned: TunedPrompt) -> Files:
        config = adapter.adapter_config(base, len(tuned.prompt_LD))
        return {
            adapter.CONFIG: _json(config),
            adapter.WEIGHTS: to_safetensors({TENSOR: tuned.prompt_LD}, tuned.notice),
        }

    return write


def prompt_embeds(base: BaseModel, run: TunedPrompt) -> Writer:
    """Write each question of the survey behind the soft prompt, as embeddings.

    Raises:
      UserError: model or survey are not those that the run had, or cannot be read.
    """
    folder = resolve(run.model, run.revision)
    now = {"weights": weights_digest(folder), "survey": instrument_digest(run.instrument)}
    for name, digest in now.items():
        if digest != run.digests[name]:
            raise UserError(
                f"--format=prompt_embeds: the {name} changed since the run, so these would not be "
                "the questions that it asked; put back what it had, or take another --format"
            )
    with on_disk(folder) as here:
        questions = ask(run.instrument, load_tokenizer(here, run.chat_template), run.formats)
    tokens = sorted({token for question in questions for token in question.tokens})
    rows = dict(zip(tokens, read_embeddings(folder, tokens), strict=True))

    def write(tuned: TunedPrompt) -> Files:
        tensors = tensors_of(questions, rows, tuned.prompt_LD)
        return {
            "prompt_embeds.safetensors": to_safetensors(tensors, tuned.notice),
            "index.json": _json(index_of(questions, tuned, base)),
        }

    return write


def npy(base: BaseModel, run: TunedPrompt) -> Writer:
    """Write the rows as a numpy array."""

    def write(tuned: TunedPrompt) -> Files:
        content = io.BytesIO()
        np.save(content, tuned.prompt_LD)
        return {ARRAY: content.getvalue()}

    return write


# Each is given the base model and any prompt of the run, for what its countries share.
WRITERS: dict[str, Callable[[BaseModel, TunedPrompt], Writer]] = {
    "peft": peft,
    "prompt_embeds": prompt_embeds,
    "npy": npy,
}


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
