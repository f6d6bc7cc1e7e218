"""All figures of one setting, as rows of text."""

from typing import Any

_PARTS = {
    "evaluate": "evaluate",
    "ask_tell": "ask + tell",
    "rest": "rest",
    "checkpoint": "one checkpoint until durable",
    "host": "host",
}


def rows(figures: dict[str, Any]) -> dict[str, str]:
    """Return what was measured in one setting, and its figures, by name."""
    seconds, memory, compiled = figures["seconds"], figures["memory"], figures["compile_seconds"]
    generation, ceiling = seconds["generation"], figures["ceiling"]
    return {
        "model": f"{figures['model']}, {figures['parameters']:,} parameters, {figures['dtype']}, "
        f"attention {figures['attention']}",
        "device": f"{figures['hardware']}; load {figures['load']:.1f}",
        "versions": " ".join(f"{name} {version}" for name, version in figures["versions"].items()),
        "date": figures["date"],
        "generation": f"{figures['candidates']} candidates x ({figures['prompt_length']} prompt + "
        f"{figures['trie_tokens']} trie tokens) = {figures['tokens']:,} tokens, "
        f"{figures['chunk']} candidates at a time",
        "seconds": f"{generation:.4g} (median of {figures['repeats']}, "
        f"{min(figures['generation_seconds']):.4g} to {max(figures['generation_seconds']):.4g})",
        "candidates/s": f"{figures['candidates_per_second']:,.4g}",
        "trie tokens/s": f"{figures['tokens_per_second']:,.0f}",
        "linear layers": f"{figures['flop_per_token'] / 1e9:,.4g} GFLOP per token, "
        f"{figures['share_of_ceiling']:.1%} of the ceiling",
        "operations": _operations(figures),
        "ceiling": f"{ceiling['flop_per_second'] / 1e12:,.4g} TFLOP/s, {figures['dtype']} product "
        f"of {ceiling['rows']} x {ceiling['rows']}",
        "saving": f"{figures['saving']:.2f} times fewer tokens than a padded batch",
        **{
            name: f"{seconds[part]:.4g} s, {seconds[part] / generation:.2%}"
            for part, name in _PARTS.items()
        },
        "ask + tell, checkpoint, host": f"{figures['overhead_share']:.2%} of a generation",
        "memory": f"peak {_peak(memory)}, predicted "
        f"{_mebibytes(memory['predicted'])} ({_mebibytes(memory['weights'])} weights, "
        f"{_mebibytes(memory['working'])} working)",
        "compiling": f"{_seconds(compiled['step'])} the step, "
        f"{_seconds(compiled['step_from_cache'])} from the cache; {compiled['engine']:.1f} s all "
        f"of the engine, {compiled['chunk']:.1f} s choosing the chunk",
        "resume": "byte for byte" if figures["resume_identical"] else "DIFFERS",
        **(_peer(figures["peer"]) if "peer" in figures else {}),
    }


def describe_losses(losses: dict[str, Any]) -> str:
    """Say how far the peer's losses are from ours, and whether that is within the tolerance."""
    if losses["largest_difference"] is None:
        return "NOT FINITE"
    largest = f"{losses['largest_difference']:.1e}"
    if losses["equal"] is None:
        return f"{largest} apart"
    if losses["equal"]:
        return f"equal, at most {largest} apart"
    return f"DIFFER by {largest}, allowed are {losses['allowed']:g}"


def _peer(peer: dict[str, Any]) -> dict[str, str]:
    where = peer["device"] + (f", {peer['threads']} threads" if peer["threads"] else "")
    tried = ", ".join(f"{batch}: {rate:,.3g}" for batch, rate in peer["tried"].items())
    turns = "sides in turns" if peer["alternated"] else "the peer's times of an earlier setting"
    return {
        f"peer {peer['name']}": f"{peer['candidates_per_second']:,.4g} candidates/s on {where}, "
        f"{peer['batch']} candidates in a batch (candidates/s by batch: {tried})",
        "ours beside it": f"{peer['ours_candidates_per_second']:,.4g} candidates/s",
        "ratio": f"{peer['ratio']:.2f} times the peer ({peer['ratio_least']:.2f} to "
        f"{peer['ratio_most']:.2f}), {turns}",
        "losses": describe_losses(peer["losses"]),
    }


def _operations(figures: dict[str, Any]) -> str:
    flop = figures["flop_per_candidate"]
    whole = flop["formula"] + flop["shared"]
    counted = "" if flop["xla"] is None else f"; XLA counts {flop['xla'] / whole:.3f} of it"
    return (
        f"{flop['formula'] / 1e9:,.4g} GFLOP per candidate and {flop['shared'] / 1e9:,.3g} for all "
        f"by formula, {figures['share_by_operations']:.1%} of the ceiling{counted}"
    )


def _peak(memory: dict[str, Any]) -> str:
    if memory["peak"] is None:
        return f"{_mebibytes(memory['process'])} of the whole process"
    return _mebibytes(memory["peak"])


def _mebibytes(number: int) -> str:
    return f"{number / 2**20:,.0f} MiB"


def _seconds(number: float | None) -> str:
    return "not told" if number is None else f"{number:.1f} s"
