"""The README.md beside an export: what the prompt is, what it is worth, and how to load it."""

import json
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from jaxalign.interchange.base import BaseModel
from jaxalign.interchange.tuned import TunedPrompt
from jaxalign.report.numbers import format_loss, format_score

HERE = "path/to/this/folder"  # in the snippets

_BASELINES = {
    "constant answer": "one option to every item",
    "uniform answers": "every option of an item as likely as any other",
}
_CONTENT = {
    "peft": "a PEFT prompt-tuning adapter: `adapter_config.json` and `adapter_model.safetensors`",
    "prompt_embeds": "whole questions as embeddings: `prompt_embeds.safetensors` has a float32 "
    "tensor for each item, the soft prompt's rows and then those of the question; `index.json` the "
    "texts and the tokens of the options",
    "npy": "the rows as a numpy array, float32",
}
_LOADING = {
    "peft": """\
import torch
from peft import PeftModel
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, AutoTokenizer

base = AutoModelForCausalLM.from_pretrained({model}, dtype="auto")
model = PeftModel.from_pretrained(base, "{here}")

questions = ["How important is it to you to have time for yourself?"]  # any number
tokenizer = AutoTokenizer.from_pretrained({model})
rows = []
for question in questions:
    text = tokenizer.apply_chat_template(
        [{{"role": "user", "content": question}}], tokenize=False, add_generation_prompt=True
    )
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"][0]
    prompt = model.get_prompt(batch_size=1)[0].to(base.dtype)
    rows.append(torch.cat([prompt, base.get_input_embeddings()(ids)]))
embeds, mask = (
    pad_sequence(each, batch_first=True, padding_side="left")
    for each in (rows, [torch.ones(len(each), dtype=torch.long) for each in rows])
)
written = base.generate(
    inputs_embeds=embeds, attention_mask=mask, max_new_tokens=16, do_sample=False
)
answers = tokenizer.batch_decode(written, skip_special_tokens=True)
""",
    "prompt_embeds": """\
from safetensors.torch import load_file
from vllm import LLM, SamplingParams

tensors = load_file("{here}/prompt_embeds.safetensors")
llm = LLM(
    {model},
    enable_prompt_embeds=True,
    enable_prefix_caching=False,
    enable_chunked_prefill=False,
)
requests = [{{"prompt_embeds": tensor}} for tensor in tensors.values()]
answers = llm.generate(requests, SamplingParams(max_tokens=1, logprobs=20))
""",
    "npy": """\
import numpy as np

prompt_LD = np.load("{here}/soft_prompt.npy")
""",
}
_MORE = {
    "peft": "A forward pass of `model` on one text is right, and `model.generate` is not: with "
    "PEFT 0.21.2 it goes wrong from the second token on unless it is given `use_cache=False`, and "
    "in a batch it puts the rows before the padding, away from the text; adapters of its own too. "
    "So the lines above give the rows to the base model. Texts of the chat template hold their "
    "special tokens already, so the tokenizer adds none.",
    "prompt_embeds": "vLLM's server (`--enable-prompt-embeds`) takes the same tensor through "
    "`torch.save`, in base64; SGLang takes it as a list of rows, `input_embeds`; transformers as "
    "`inputs_embeds`. The answer is the next token, one of its `option_tokens`. Neither engine was "
    "run here. What is known to break embeddings there: prefix caching (it tells prompts apart by "
    "token ids, and there are none; SGLang: `--disable-radix-cache`), chunked prefill, and "
    "penalties on repeated tokens, which count ids. Add no begin-of-text token of your own.",
    "npy": "To search on from it: `python -m jaxalign.train … "
    "--config.prompt.init={here}/soft_prompt.npy`.",
}


def model_card(form: str, tuned: TunedPrompt, base: BaseModel) -> str:
    """Return the card of one country's prompt, in Markdown with the hub's front matter.

    Args:
      form: of the export: peft, prompt_embeds or npy.
      tuned: the prompt.
      base: the model that it is for.
    """
    rows, width = tuned.prompt_LD.shape
    model = json.dumps(base.name)
    if base.revision:
        model += f", revision={json.dumps(base.revision)}"
    card = ModelCard.from_template(
        _card_data(form, base),
        template_path=str(resources.files("jaxalign.interchange") / "card.md"),
        country=_line(tuned.country),
        survey=_line(tuned.instrument.title),
        notice=_line(tuned.notice or ""),
        rows=rows,
        width=width,
        model=tuned.model,
        content=_CONTENT[form],
        unit=tuned.unit,
        losses=[[name, format_loss(tuned.losses[key])] for name, key in _losses(tuned).items()],
        columns=tuned.columns,
        scores=[
            [_cell(name), *(format_score(value, tuned.digits) for value in values)]
            for name, values in tuned.rows
        ],
        meaning=_meaning(tuned),
        verdict=list(map(_line, tuned.verdict or ())),
        search={name: _line(words) for name, words in tuned.search.items()},
        command=tuned.command,
        snippet=_LOADING[form].format(model=model, here=HERE),
        more=_MORE[form].format(here=HERE),
        validated=tuned.instrument.validated,
    )
    return card.content.rstrip() + "\n"


def countries_card(tuned: Sequence[TunedPrompt]) -> str:
    """Return the card above the exports of a multi-country run."""
    parts = [
        f"# Soft prompts for {len(tuned)} countries, {_line(tuned[0].instrument.title)}",
        _notice(tuned[0].notice),
        f"For the model `{tuned[0].model}`. Each folder is complete, with its own card.",
        _table(
            [f"loss ({tuned[0].unit})", *_losses(tuned[0])],
            [
                [f"[{_cell(each.country)}]({each.code}/README.md)"]
                + [format_loss(each.losses[key]) for key in _losses(each).values()]
                for each in tuned
            ],
        ),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _card_data(form: str, base: BaseModel) -> ModelCardData:
    """Return the hub's metadata, which takes nothing but a hub id for a base model."""
    data: dict[str, Any] = {"tags": ["jaxalign", "prompt-tuning", "soft-prompt", "values-survey"]}
    if base.on_hub:
        data |= {"base_model": base.name, "base_model_relation": "adapter"}
    if form == "peft":
        data |= {"library_name": "peft", "pipeline_tag": "text-generation"}
    return ModelCardData(**data)


def _notice(notice: str | None) -> str:
    return f"> **Note:** {_line(notice)}" if notice else ""


def _losses(tuned: TunedPrompt) -> dict[str, str]:
    """Name to key of the losses."""
    return {tuned.baseline: "constant", "naive": "naive", "tuned": "best"}


def _meaning(tuned: TunedPrompt) -> list[str]:
    """Return the explanations of the tables' terms."""
    sentences = [
        f"Target: {_line(tuned.target_source)}.",
        "Naive is the model without the prompt.",
        f"{tuned.baseline.capitalize()}: {_BASELINES[tuned.baseline]}.",
    ]
    if any(tuned.constant):
        same = len(set(tuned.constant)) == 1
        values = tuned.constant[:1] if same else tuned.constant
        given = ", ".join(f"{value:g}" for value in values)
        sentences.append(f"C, the constant of the formulas and a convention, is {given}.")
    if tuned.draws:
        sentences.append(f"Tuned is the mean of {tuned.draws} fresh samples.")
    return sentences


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    marks = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, marks, *rows))


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")


def _line(text: str) -> str:
    return " ".join(str(text).split())
