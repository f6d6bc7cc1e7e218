"""CulturalBench-Hard's rows as messages: is this answer to this question right?"""

from jaxalign.survey import HardRow

# Names the labels as a tokenizer must write them: answers are read at the tokens True and False.
_INSTRUCTION = "Is the proposed answer to the question right? Reply with True or False only."


def hard_text(row: HardRow) -> str:
    """Return the user's message for one row, to be answered with one of `HARD_LABELS`.

    The option stands last, so that the rows of a question share all tokens but its own.
    """
    return f"{_INSTRUCTION}\nQuestion: {row.text}\nProposed answer: {row.option}"
