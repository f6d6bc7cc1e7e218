"""From survey items to token sequences: chat templates, option tokens, the trie, personas."""

from jaxalign.prompts.chat import encode, end_ids, load_tokenizer, render_chat
from jaxalign.prompts.questions import (
    Questions,
    benchmark_text,
    build_questions,
    option_ids,
    question_text,
)
from jaxalign.prompts.texts import Texts, encode_texts, load_texts, starting_texts
from jaxalign.prompts.trie import ROOT, TokenTrie, build_trie

__all__ = [
    "ROOT",
    "Questions",
    "Texts",
    "TokenTrie",
    "benchmark_text",
    "build_questions",
    "build_trie",
    "encode",
    "encode_texts",
    "end_ids",
    "load_texts",
    "load_tokenizer",
    "option_ids",
    "question_text",
    "render_chat",
    "starting_texts",
]
