"""A byte-level BPE tokenizer in Llama 3's form, trained on the survey's words and the personas."""

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from jaxalign.prompts import TEMPLATES, Format, Texts, question_text
from jaxalign.survey import Instrument

SPECIAL = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
)
# How GPT-4's and Llama 3's tokenizers cut text into words before merging bytes.
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def corpus(forms: Sequence[tuple[Instrument, Format]], texts: Texts) -> list[str]:
    """Return all words that the embedded model is trained on, without held-out wordings."""
    personas = [
        wording.format(country=name)
        for wording in texts.personas
        for name in texts.countries.values()
    ]
    questions = [
        question_text(instrument, item, shown)
        for instrument, shown in forms
        for item in instrument.items
    ]
    return [
        *questions,
        *personas,
        *texts.values * 4,
        *["system", "user", "assistant", "\n\n"] * 64,
    ]


def train_tokenizer(texts: Sequence[str], folder: Path, vocab_size: int) -> None:
    """Train and save the tokenizer files (tokenizer.json, tokenizer_config.json, template)."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=SPECIAL[0], eos_token=SPECIAL[4]
    )
    wrapped.chat_template = TEMPLATES["llama3"]
    wrapped.save_pretrained(str(folder))
