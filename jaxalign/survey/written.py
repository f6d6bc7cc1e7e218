r"""Which option a written answer means.

A mention is a label that stands by itself (`3`, `(3)`, `B.`). It chooses its option unless a word
follows it (`2 superiors`, `A good boss`) and no word such as "option" comes before it; or a
negation comes before it in the same clause (`not 4`). A number that does not choose is still named,
and so is a letter that does not for any reason but that it is an article. In order, the first
that applies:

| rule | the text | example |
|---|---|---|
| `label` | is a label, in either case, among punctuation | `3`, `(3)`, `**b**` |
| `leading` | begins with a choosing mention and names no other label | `3. important`, `3) I` |
| `refusal` | has words of a refusal | `As an AI, I cannot` |
| `ambiguous` | names several labels, or a label and just another's option | `1 to 5`, `3 = often` |
| `named` | has a choosing mention | `I would say 3.`, `Option 3 fits` |
| `number word` | is one to ten, alone or after "option", where labels are numbers | `Three.` |
| `ambiguous` | has the words of several options, or of one and another's label | `often or never` |
| `words` | has the words of one option | `moderately important` |
| `nothing` | anything else | `It depends.` |

Words count as a whole and in either case, longest option first, so `moderately important` is not
`important`; not after a negation in their clause, nor right after a word of degree that is no part
of the option (`very important`). Labels of several letters are words. In doubt a text is unparsed.
Negations, degrees, number words and refusals are English; labels and options are of any language
that puts spaces between words, digits of any script.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

OPTION, REFUSAL, UNPARSED = "option", "refusal", "unparsed"

_MARK = re.compile(r"-?\d+|[^\W\d_]")  # labels that are no words
_PUNCTUATION = " \t\n()[]{}<>.,:;!?=\"'“”«»"
_NUMBERS = dict(
    zip("one two three four five six seven eight nine ten".split(), range(1, 11), strict=True)
)
_CHOSEN = re.compile(r"\b(?:option|number|choice|letter|answer|choose|pick|select|say)\s+#?$", re.I)
_WORD_NEXT = re.compile(r"[ \t]+(\w+)")
_BETWEEN_LABELS = {"and", "nor", "or", "than", "through", "to", "versus", "vs"}
_CLAUSE = re.compile(r"[.,:;!?()\n]")
_NEGATION = re.compile(r"\b(?:cannot|neither|never|no|nor|not|without)\b|n't\b", re.I)
_DEGREE = re.compile(
    r"\b(?:barely|extremely|fairly|hardly|highly|least|less|moderately|more|most|mostly|pretty"
    r"|quite|rather|really|slightly|so|somewhat|too|very)\s+$"
)
_AI = r"an? (?:ai|artificial intelligence|(?:large )?language model)\b"
_REFUSAL = re.compile(
    rf"\bi (?:cannot|can not|can't)\b|\bas {_AI}|\bi(?: a|')m (?:just |only )?{_AI}"
    r"|\b(?:not |un)able to\b|\bi (?:do not|don't) have (?:\w+ ){0,3}?(?:beliefs?|bod(?:y|ies)"
    r"|emotions?|experiences?|feelings?|nationality|opinions?|preferences?)\b"
    r"|\b(?:decline|refuse) to\b|\bi (?:won't|will not)\b|\bi(?: a|')m sorry\b|\bi apologi[sz]e\b"
    r"|\bprefer not to\b|\bnot applicable\b|\bn/a\b"
)


@dataclass(frozen=True)
class Reading:
    """What a written answer means.

    Attributes:
      option: index of the option, or None.
      kind: `option`, `refusal` or `unparsed`.
      rule: the rule that decided, as the module names them.
    """

    option: int | None
    kind: str
    rule: str


def read_written(
    text: str,
    labels: Sequence[str],
    options: Sequence[str],
    nonresponse: Sequence[tuple[str, str]] = (),
) -> Reading:
    """Read the option that a text means, by the rules of this module.

    Args:
      text: as the model wrote it, without special tokens.
      labels: A strings, what should be written for each option.
      options: A strings, what each label stands for.
      nonresponse: label and text of what was offered besides; to choose it is a refusal.
    """
    more_labels, more_options = zip(*nonresponse, strict=True) if nonresponse else ((), ())
    reading = _read(text, [*labels, *more_labels], [*options, *more_options])
    if reading.option is not None and reading.option >= len(labels):
        return Reading(None, REFUSAL, reading.rule)
    return reading


def _read(text: str, labels: list[str], options: list[str]) -> Reading:
    text, labels = _plain(text), [" ".join(_plain(label).split()) for label in labels]
    bare = text.strip(_PUNCTUATION).casefold()
    lowered = [label.casefold() for label in labels]
    options = [" ".join(_plain(option).casefold().split()) for option in options]
    for candidate in (text.casefold(), bare):  # the first keeps what a label has of punctuation
        if lowered.count(candidate) == 1:
            return Reading(lowered.index(candidate), OPTION, "label")

    chosen: set[int] = set()
    named: set[int] = set()
    first = None
    for option, chooses, start, end in _mentions(text, labels):
        named.add(option)
        if chooses:
            chosen.add(option)
            if not text[:start].strip(_PUNCTUATION + "-"):
                first = option
            rest = (text[:start] + text[end:]).strip(_PUNCTUATION + "-–—").casefold()
            named.update(place for place, words in enumerate(options) if words == rest)
    if first is not None and named == {first}:
        return Reading(first, OPTION, "leading")
    if _REFUSAL.search(text.casefold()):
        return Reading(None, REFUSAL, "refusal")
    if chosen:
        return _only(named, "named")

    number = bare.removeprefix("option ").removeprefix("number ")
    if number in _NUMBERS and str(_NUMBERS[number]) in labels:
        return Reading(labels.index(str(_NUMBERS[number])), OPTION, "number word")
    meant = set(_options_meant(text.casefold(), lowered, options))
    return _only(meant | named, "words") if meant else Reading(None, UNPARSED, "nothing")


def _only(named: set[int], rule: str) -> Reading:
    if len(named) > 1:
        return Reading(None, UNPARSED, "ambiguous")
    return Reading(next(iter(named)), OPTION, rule)


def _plain(text: str) -> str:
    """One form of digits, letters and apostrophes, without Markdown's signs."""
    text = unicodedata.normalize("NFKC", text).replace("’", "'")
    text = "".join(str(unicodedata.decimal(each, each)) for each in text)
    return re.sub(r"[*_`#]+", "", text).strip()


def _mentions(text: str, labels: Sequence[str]) -> Iterator[tuple[int, bool, int, int]]:
    """Option, whether it is chosen, start and end of each label that stands by itself."""
    marks = [label for label in labels if _MARK.fullmatch(label)]
    if not marks:
        return
    # Not within a word, a decimal number, a time, a percentage, or joined to a word (I'd, A-level).
    alone = re.compile(
        rf"(?<!\w)(?<!\d[.,:])(?<![^\W\d]['-])(?:{_any_of(marks)})"
        r"(?!\w|[.,:]\d|['-][^\W\d]|\s?%)"
    )
    for match in alone.finditer(text):
        label, (start, end) = match.group(), match.span()
        following = _WORD_NEXT.match(text, end)
        word = following.group(1) if following and not _CHOSEN.search(text[:start]) else ""
        if not word or label[-1].isdigit() or word in _BETWEEN_LABELS:
            negated = _NEGATION.search(_clause_before(text, start))
            yield labels.index(label), not word and not negated, start, end


def _options_meant(text: str, labels: Sequence[str], options: Sequence[str]) -> Iterator[int]:
    """Options whose words, or the words that are their label, are in a text; all in lower case."""
    words = {option: place for place, option in enumerate(options)}
    words |= {label: place for place, label in enumerate(labels) if not _MARK.fullmatch(label)}
    for match in re.finditer(rf"(?<!\w)(?:{_any_of(words)})(?!\w)", text):
        before = _clause_before(text, match.start())
        if not _NEGATION.search(before) and not _DEGREE.search(before):
            yield words[" ".join(match.group().split())]


def _any_of(texts: Sequence[str] | dict[str, int]) -> str:
    longest_first = sorted(texts, key=len, reverse=True)
    return "|".join(r"\s+".join(map(re.escape, text.split())) for text in longest_first)


def _clause_before(text: str, place: int) -> str:
    return _CLAUSE.split(text[:place])[-1]
