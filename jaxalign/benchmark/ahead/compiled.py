"""A run's programs compiled for a chip, and the figures that are read from them."""

import collections
import functools
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxalign.benchmark.ahead.abstract import abstract_plan, abstract_problem, lay
from jaxalign.benchmark.ahead.chips import Target
from jaxalign.benchmark.ahead.collectives import collectives_of
from jaxalign.benchmark.ahead.hlo import Kernel, Program
from jaxalign.benchmark.sweep import Point
from jaxalign.devices.memory import is_out_of_memory
from jaxalign.devices.mesh import shape_of
from jaxalign.fitness import Execution, choose_chunk
from jaxalign.model.abstract import named_leaves
from jaxalign.model.cost import candidate_flop, shared_flop
from jaxalign.problem import Problem
from jaxalign.run.engine import lower_steps, make_evolution
from jaxalign.run.refine import PromptLoss
from jaxalign.search import SearchPlan, full_space
from jaxalign.settings import Settings

_COPIES = ("copy", "copy-done", "slice-done", "transpose", "dynamic-slice", "slice", "fusion")
_OPTIONS = {  # what only a device can choose, left out
    "cuda": {"xla_gpu_autotune_level": 0, "xla_gpu_enable_triton_gemm": False},
}


def compile_points(
    points: Sequence[Point], target: Target, shape: str | None
) -> Iterator[dict[str, Any]]:
    """Compile the programs of each setting: all of a single one's, of several the evaluation.

    Args:
      points: of `make_points`.
      target: the devices.
      shape: a key of `SHAPES`; None for the config's own model.

    Yields:
      `swept`, the sizes, and `programs`: the figures of each, by name.
    """
    for point in points:
        problem = abstract_problem(point.settings, target, shape)
        plan = abstract_plan(point.settings, problem, target)
        programs = compile_programs(point.settings, problem, plan, target, not point.swept)
        trie = problem.questions.trie
        yield {
            "swept": point.swept,
            "compiled_for": target.name,
            "model": shape or point.settings.model.path,
            "dtype": point.settings.model.dtype,
            "quantization": point.settings.model.quantization,
            "attention": point.settings.evaluation.attention,
            "mesh": shape_of(problem.mesh),
            "candidates": plan.candidates,
            "prompt_length": point.settings.prompt.length,
            "trie_tokens": trie.size,
            "flop_by_formula": _formula(point.settings, problem, plan),
            "programs": programs,
        }


def _formula(settings: Settings, problem: Problem, plan: SearchPlan) -> float:
    """Return the operations of an evaluation on each device, by `jaxalign.model.cost`."""
    population, model = shape_of(problem.mesh)
    layout, architecture = problem.task.layout, problem.model_config
    answers = len(layout.answer_nodes_Q)
    each = candidate_flop(architecture, settings.prompt.length, layout.tree, answers)
    hand = math.ceil(plan.candidates / population)
    return (hand * each + shared_flop(architecture, layout.tree)) / model


def compile_programs(
    settings: Settings, problem: Problem, plan: SearchPlan, target: Target, everything: bool
) -> dict[str, Any]:
    """Return the figures of the evaluation, and of start, step and gradient if wanted.

    Where the chunk is left open, several are compiled as a run would try them, and estimates take
    the place of seconds; the figures of the others stand beside those of the chosen one.
    """
    attention = settings.evaluation.attention
    population, _ = shape_of(problem.mesh)
    hand = math.ceil(plan.candidates / population)

    def figures(chunk: int, lowered: Any) -> dict[str, Any]:
        return _figures(problem, math.ceil(hand / chunk), target, lowered) | {"chunk": chunk}

    tried: dict[int, dict[str, Any]] = {}

    def seconds_of(chunk: int) -> float:
        execution = Execution(chunk, attention, problem.mesh)
        tried[chunk] = figures(chunk, _evaluation(settings, problem, plan, target, execution))
        if "error" in tried[chunk] or tried[chunk]["memory"]["total"] > target.memory:
            return math.inf
        return tried[chunk]["seconds"]["estimate"] * chunk

    chosen = settings.evaluation.chunk
    if chosen:
        chosen = min(chosen, hand)
        seconds_of(chosen)
    else:
        chosen = choose_chunk(seconds_of, hand)
    programs = {f"evaluate, chunk {chunk}": told for chunk, told in tried.items()}
    if everything:
        execution = Execution(chosen, attention, problem.mesh)
        copied = functools.partial(lay, target=target, mesh=problem.mesh)
        key = copied(jax.eval_shape(jax.random.key, 0))
        evolution = make_evolution(problem, plan, execution)
        arguments = (problem.weights, problem.task, plan.space, copied(plan.strategy.params))
        start, step = lower_steps(problem.mesh, evolution, (*arguments, plan.vectors_E, key))
        programs |= {"start": figures(chosen, start), "step": figures(chosen, step)}
        shape = settings.prompt.length, problem.model_config.width
        prompt_LD = copied(jax.ShapeDtypeStruct(shape, jnp.float32))
        loss = PromptLoss(problem.evaluator(Execution(1, attention)))
        gradient = jax.jit(jax.value_and_grad(loss, argnums=1)).lower(
            (problem.weights, problem.task, jnp.int32(0), full_space(*shape)), prompt_LD
        )
        programs["gradient"] = figures(1, gradient)
    return programs


def _evaluation(
    settings: Settings, problem: Problem, plan: SearchPlan, target: Target, execution: Execution
) -> Any:
    """Return the lowered evaluation of a population."""
    copied = functools.partial(lay, target=target, mesh=problem.mesh)
    shape = plan.candidates, settings.prompt.length, problem.model_config.width
    prompts_ELD = copied(jax.ShapeDtypeStruct(shape, jnp.float32))
    key = copied(jax.eval_shape(jax.random.key, 0))
    evaluate = jax.jit(problem.evaluator(execution))
    return evaluate.lower(problem.weights, problem.task, prompts_ELD, key=key)


def _figures(problem: Problem, rounds: int, target: Target, lowered: Any) -> dict[str, Any]:
    """Return what a compiled program says of itself; `error` where it does not fit the chip.

    Args:
      problem: of the program.
      rounds: turns of its loop over chunks.
      target: the chip.
      lowered: the program.
    """
    begun = time.perf_counter()
    try:
        compiled = lowered.compile(compiler_options=_OPTIONS.get(target.platform))
    except jax.errors.JaxRuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return {"error": str(error).partition("\n")[0]}
    seconds = time.perf_counter() - begun
    program = Program(compiled.as_text(), unknown=rounds)
    memory = compiled.memory_analysis()
    total = (
        memory.argument_size_in_bytes
        + memory.temp_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
    )
    return {
        "compile_seconds": seconds,
        "memory": {
            "arguments": memory.argument_size_in_bytes,
            "temporaries": memory.temp_size_in_bytes,
            "outputs": memory.output_size_in_bytes,
            "donated": memory.alias_size_in_bytes,
            "total": total,
            "chip": target.memory,
        },
        **_work(program, problem, target),
    }


def _work(program: Program, problem: Problem, target: Target) -> dict[str, Any]:
    """Return operations, bytes, times, copies and collectives of a program."""
    layers = problem.model_config.layers
    flop: dict[str, int] = collections.Counter()
    product_time = kernel_time = layer_time = moved = bound = 0.0
    inside: list[Kernel] = []
    for kernel in program.kernels:
        each, times = kernel.instruction, kernel.times
        products = program.products(kernel.computation, each)
        own = 0.0
        for product in products:
            left, right, result = product.types
            flop[f"{left} x {right} -> {result}"] += product.flop * times
            own += product.flop / target.rate(left)
        bound += own * times
        bytes_ = program.moved(kernel.computation, each)
        moved += bytes_ * times
        taken = each.cycles / target.clock if target.clock else max(own, bytes_ / target.bandwidth)
        kernel_time += taken * times
        product_time += taken * times * bool(products)
        if _in_layers(kernel, layers):
            inside.append(kernel)
            layer_time += taken
    mesh = problem.mesh
    collectives = collections.Counter(
        (each.kind, each.result, each.times, _in_layers(each, layers), each.overlapped)
        for each in collectives_of(program, mesh.size if mesh else 1)
    )
    return {
        "flop": dict(flop),
        "seconds": {
            "estimate": kernel_time,
            "operations": bound,
            "bytes": moved / target.bandwidth,
            "layer": layer_time,
        },
        "share_of_products": product_time / kernel_time if kernel_time else None,
        "weight_copies": _weight_copies(program, inside, problem),
        "collectives": [
            {
                "kind": kind,
                "bytes": size,
                "times": times,
                "in_layers": in_layers,
                "overlapped": overlapped,
                "count": count,
            }
            for (kind, size, times, in_layers, overlapped), count in collectives.items()
        ],
    }


def _in_layers(kernel: Any, layers: int) -> bool:
    return any(turns in (layers - 2, layers - 1) for turns in kernel.loops)


def _weight_copies(program: Program, inside: list[Kernel], problem: Problem) -> dict[str, float]:
    """Return bytes of weights that each turn of the layer loop copies, to main and fast memory."""
    layers = problem.model_config.layers
    sizes = set()
    for leaf in named_leaves(problem.weights).values():
        if len(leaf.shape) == 3:
            size = math.prod(leaf.sharding.shard_shape(leaf.shape))
            sizes |= {size, size // layers}
    copied = {"main": 0.0, "fast": 0.0}
    for kernel in inside:
        each = kernel.instruction
        if each.kind in _COPIES and not program.products(kernel.computation, each):
            for array in each.arrays:
                if math.prod(array.shape) in sizes:
                    copied["fast" if array.fast else "main"] += array.bytes
    return copied
