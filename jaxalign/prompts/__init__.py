"""From survey items to token sequences: chat templates, option tokens, the trie, personas."""

from jaxalign.prompts.chat import describe_chat, encode, end_ids, load_tokenizer, render_chat
from jaxalign.prompts.formats import USUAL, Format, parse_format
from jaxalign.prompts.hard import hard_text
from jaxalign.prompts.labels import Longer, Path, lay_out_paths
from jaxalign.prompts.presentations import (
    FACTORS,
    Levels,
    Presentation,
    Sets,
    alone,
    draw_sets,
    find_sets,
    present,
    read_levels,
)
from jaxalign.prompts.questions import (
    Asked,
    Questions,
    ask_items,
    ask_presentation,
    ask_quiz,
    build_questions,
    encode_asked,
    encode_requests,
    option_ids,
    question_text,
    quiz_text,
)
from jaxalign.prompts.templates import TEMPLATES
from jaxalign.prompts.texts import Texts, encode_texts, load_texts, starting_texts
from jaxalign.prompts.trie import ROOT, TokenTrie, build_trie

__all__ = [
    "FACTORS",
    "ROOT",
    "TEMPLATES",
    "USUAL",
    "Asked",
    "Format",
    "Levels",
    "Longer",
    "Path",
    "Presentation",
    "Questions",
    "Sets",
    "Texts",
    "TokenTrie",
    "alone",
    "ask_items",
    "ask_presentation",
    "ask_quiz",
    "build_questions",
    "build_trie",
    "describe_chat",
    "draw_sets",
    "encode",
    "encode_asked",
    "encode_requests",
    "encode_texts",
    "end_ids",
    "find_sets",
    "hard_text",
    "lay_out_paths",
    "load_texts",
    "load_tokenizer",
    "option_ids",
    "parse_format",
    "present",
    "question_text",
    "quiz_text",
    "read_levels",
    "render_chat",
    "starting_texts",
]
