"""True/False questions as the embedded model's tokenizer writes them."""

import numpy as np

from jaxalign.model import resolve
from jaxalign.prompts import build_trie, encode, hard_text, load_tokenizer, option_ids, render_chat
from jaxalign.survey import HARD_LABELS, HardRow, load_quizzes


def test_the_words_of_a_hard_row():
    row = HardRow("28", "7", "Xanadu", "What is brewed?", "tea", True)
    assert hard_text(row) == (
        "Is the proposed answer to the question right? Reply with True or False only.\n"
        "Question: What is brewed?\n"
        "Proposed answer: tea"
    )


def test_rows_have_two_tokens_to_answer_with_and_share_their_question():
    _, hard = load_quizzes("fixture")
    tokenizer = load_tokenizer(resolve("embedded"))
    sequences = []
    for row in hard.questions:
        text = render_chat(tokenizer, hard_text(row))
        true, false = option_ids(tokenizer, text, HARD_LABELS, row.id)
        assert true != false
        sequences.append(encode(tokenizer, text))
    trie = build_trie(sequences)
    assert len(np.unique(trie.answer_nodes_Q)) == len(hard.questions) == 79
    assert trie.size < 0.5 * sum(map(len, sequences))
