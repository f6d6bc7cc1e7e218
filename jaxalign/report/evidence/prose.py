"""A methods paragraph that a paper can adapt, made from the settings, and what it cites."""

from collections.abc import Iterator
from typing import Any

from jaxalign.files import RunFiles
from jaxalign.report.parts import country_name, flatten

_PAPER = (
    "Masoud, R., Ferianc, M., Treleaven, P., Rodrigues, M. (2025). Cultural Alignment in Large "
    "Language Models Using Soft Prompt Tuning."
)
_MANUAL = "Hofstede, G., Minkov, M. (2013). Values Survey Module 2013 Manual."
_BENCHMARK = "CulturalBench. arXiv:2410.02677."
_READOUTS = {
    "expected": "the expected answer under the probabilities of the options",
    "greedy": "the likeliest option",
}


def methods_text(run: RunFiles, evaluation: dict[str, Any]) -> str:
    """What was done, from the settings of the run and of its evaluation; plain text."""
    config = flatten(run.config.get("config", {}))
    sentences = [
        *_aim(config, evaluation),
        *_search(config, run.summary),
        *_comparisons(evaluation),
        *_culturalbench(evaluation),
        *_software(evaluation),
    ]
    return " ".join(sentences)


def references(evaluation: dict[str, Any]) -> list[str]:
    """The sources that the paragraph relies on."""
    sources = [_PAPER]
    if evaluation["survey"]["name"].startswith("vsm13"):
        sources.append(_MANUAL)
    if evaluation["survey"]["target_source"]:
        sources.append(f"Published scores: {evaluation['survey']['target_source']}.")
    if _has_benchmark(evaluation) and not evaluation["culturalbench"]["fixture"]:
        sources.append(_BENCHMARK)
    return sources


def _aim(config: dict[str, Any], evaluation: dict[str, Any]) -> Iterator[str]:
    survey = evaluation["survey"]
    length = config.get("prompt.length")
    rows = f" of {length} embedding rows" if length else ""
    wording = "validated" if survey["validated"] else "not validated"
    yield (
        "In the manner of Masoud et al. (2025), whose settings are not public, "
        f"a soft prompt{rows} was put before each of the "
        f"{survey['items']} items of the survey “{survey['title']}” (wording {wording}) so that "
        f"the answers of the frozen language model {_model(config, evaluation)} give the published "
        f"scores of {country_name(evaluation)} on {_and(evaluation['dimensions'].values())}."
    )
    readout = config.get("objective.readout", "expected")
    sampled = f"the mean of {config.get('objective.respondents')} sampled respondents"
    formats = evaluation["formats"]["seen"]
    over = f" The loss is the mean over the formats {_and(formats)}." if len(formats) > 1 else ""
    constant = survey["constant"]
    values = sorted(set(constant or ()))
    with_c = f", with C = {_and(f'{value:g}' for value in values)}" if values else ""
    yield (
        f"An item's answer is {_READOUTS.get(readout, sampled)}; scores follow the survey's "
        f"formulas{with_c}; the loss is the {survey['norm'].upper()} distance to the published "
        f"scores, to which no anchor ties them.{over}"
    )


def _model(config: dict[str, Any], evaluation: dict[str, Any]) -> str:
    if evaluation["model"] == "embedded":
        return "that comes with jaxalign (synthetic, without scientific meaning)"
    details = [
        f"{word}{config[key]}"
        for word, key in (("revision ", "model.revision"), ("", "model.dtype"))
        if config.get(key)
    ]
    return evaluation["model"] + (f" ({', '.join(details)})" if details else "")


def _search(config: dict[str, Any], summary: dict[str, Any]) -> Iterator[str]:
    if "search.strategy" not in config:
        return
    parts = [f"The search was {config['search.strategy']}"]
    if "search.population" in config:
        parts.append(f" with {config['search.population']} candidates")
    if summary.get("generations") is not None:
        parts.append(f" over {summary['generations']:,} generations")
    if summary.get("evaluations") is not None:
        parts.append(f" ({summary['evaluations']:,} evaluations)")
    if "search.space" in config:
        parts.append(f", in the space “{config['search.space']}”")
    if "prompt.init" in config:
        parts.append(f", from a first population of kind “{config['prompt.init']}”")
    if "seed" in config:
        parts.append(f", seed {config['seed']}")
    yield "".join(parts) + "."


def _comparisons(evaluation: dict[str, Any]) -> Iterator[str]:
    others = [each["name"] for each in evaluation["methods"] if each["group"] != "tuned"]
    if others:
        yield (
            f"The prompt was compared with: {'; '.join(others)}. Intervals are 95% bootstrap "
            "intervals over simulated respondents, and differences between methods are paired over "
            "the same respondents."
        )
    if evaluation["robustness"] and evaluation["robustness"]["rows"]:
        held_out = sum(not row["seen"] for row in evaluation["robustness"]["rows"])
        yield (
            f"It was asked again in {held_out} formats that the search had not seen (orders and "
            "labels of the options, wordings, instructions)."
        )
    if evaluation["answers"] and evaluation["answers"]["items"]:
        yield "Answers were also written by greedy generation and compared with the likeliest ones."
    if sizes := sorted({row["n"] for row in evaluation["respondents"] or ()}):
        yield f"Samples of {_and(map(str, sizes))} respondents were drawn from the probabilities."
    if countries := evaluation["countries"]:
        reference = countries["reference"]
        name = countries["names"].get(reference, reference)
        against = f", differences are taken from {name}" if countries["differences"] else ""
        yield (
            f"The prompts of {len(countries['codes'])} countries were compared: each was scored "
            f"against every country{against}, and orders are compared by Kendall's tau."
        )


def _culturalbench(evaluation: dict[str, Any]) -> Iterator[str]:
    bench = evaluation["culturalbench"]
    if not _has_benchmark(evaluation):
        return
    levels = _and(level.capitalize() for level in ("easy", "hard") if bench[level])
    revision = f", revision {bench['revision']}" if bench["revision"] else ""
    what = "Toy questions in the format of CulturalBench"
    if not bench["fixture"]:
        what = f"The questions of CulturalBench ({bench['source']}{revision})"
    yield (
        f"{what}, {levels}, were answered by the option of the highest log-probability, and naive "
        "and tuned compared by McNemar's test with Holm's correction and by bootstrap intervals."
    )


def _has_benchmark(evaluation: dict[str, Any]) -> bool:
    bench = evaluation["culturalbench"]
    return bool(bench and any(bench[level] and bench[level]["rows"] for level in ("easy", "hard")))


def _software(evaluation: dict[str, Any]) -> Iterator[str]:
    revision = evaluation["git_revision"]
    parts = [f"jaxalign{f' at revision {revision}' if revision else ''}"]
    versions = evaluation["versions"] or {}
    parts += [f"{name} {versions[name]}" for name in ("jax", "jaxlib") if name in versions]
    where = f" on {evaluation['hardware']}" if evaluation["hardware"] else ""
    when = f", {evaluation['date']}" if evaluation["date"] else ""
    yield f"Software: {', '.join(parts)}{where}{when}."


def _and(words: Any) -> str:
    *first, last = [*words] or [""]
    return f"{', '.join(first)} and {last}" if first else last
