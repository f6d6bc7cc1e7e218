"""Real tokenizers: one trained on the survey, and tiny hand-made ones for the odd cases."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from jaxalign.make_embedded.tokenizer import corpus, train_tokenizer
from jaxalign.prompts import USUAL, Format, Texts, load_texts, load_tokenizer
from jaxalign.survey import Instrument, load_instrument

PLAIN = "{{ messages[0]['content'] + '\nAnswer:\n' }}"


@pytest.fixture(scope="session")
def vsm13() -> Instrument:
    return load_instrument("vsm13")


@pytest.fixture(scope="session")
def texts() -> Texts:
    return load_texts()


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, vsm13: Instrument, texts: Texts) -> Any:
    """As the embedded model's: byte-level BPE with Llama 3's template."""
    folder = tmp_path_factory.mktemp("trained")
    train_tokenizer(
        corpus([(vsm13, USUAL), (vsm13, Format(labels="words"))] * 4, texts), folder, 1280
    )
    return load_tokenizer(folder)


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Any]:
    """Builds a byte-level tokenizer from its merges; without any, each byte is a token."""

    def build(
        merges: list[tuple[str, str]], template: str | None = PLAIN, special: Sequence[str] = ()
    ) -> Any:
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        names = ["<s>", *alphabet, *("".join(pair) for pair in merges)]
        vocabulary = {name: index for index, name in enumerate(names)}
        tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.decoder = decoders.ByteLevel()
        wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>")
        wrapped.add_special_tokens({"additional_special_tokens": list(special)})
        wrapped.chat_template = template
        wrapped.save_pretrained(str(tmp_path / "tiny"))
        return load_tokenizer(tmp_path / "tiny")

    return build


@pytest.fixture
def prefixing(tmp_path: Path) -> Any:
    """As Llama 2's: a first word takes a mark, so a label alone is not the label in context."""
    letters = [*map(chr, range(33, 127)), "\n", "▁"]
    names = ["<s>", *letters, *(f"▁{digit}" for digit in range(10))]
    vocabulary = {name: index for index, name in enumerate(names)}
    merges = [("▁", str(digit)) for digit in range(10)]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>")
    wrapped.chat_template = PLAIN
    wrapped.save_pretrained(str(tmp_path / "prefixing"))
    return load_tokenizer(tmp_path / "prefixing")
