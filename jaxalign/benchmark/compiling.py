"""How long a step takes to compile: from nothing, and from JAX's persistent cache."""

import contextlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache

from jaxalign.problem import Problem
from jaxalign.run.engine import Engine

STEP = "jit(step)"  # as JAX's events name it
_COMPILING = (
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/backend_compile_duration",
)
_HIT = "/jax/compilation_cache/cache_hits"
_KEEP_ALL: dict[str, object] = {
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}


@contextlib.contextmanager
def empty_cache(folder: Path) -> Iterator[None]:
    """Everything compiled inside goes to, and comes from, a cache that is empty at first."""
    wanted = {"jax_compilation_cache_dir": str(folder), **_KEEP_ALL}
    before = {name: getattr(jax.config, name) for name in wanted}
    _use(wanted)
    try:
        yield
    finally:
        _use(before)


def _use(settings: dict[str, object]) -> None:
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()  # it opens its folder once


@contextlib.contextmanager
def compile_seconds() -> Iterator[dict[str, float]]:
    """Return seconds of lowering and compiling by function, without tracing."""
    seconds: dict[str, float] = defaultdict(float)

    def listen(event: str, duration: float, **about: object) -> None:
        if event in _COMPILING and "fun_name" in about:
            seconds[str(about["fun_name"])] += duration

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield seconds
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def step_from_cache(problem: Problem, engine: Engine) -> float | None:
    """Return seconds to lower a step again and read it from its compilation cache.

    Forgets everything that the process has compiled in other ways, or nothing would be read.

    Returns:
      None if the platform's programs are not kept, so that it was compiled again.
    """
    hits = 0

    def listen(event: str, **_: object) -> None:
        nonlocal hits
        hits += event == _HIT

    jax.clear_caches()
    step = jax.jit(engine.evolution.step, donate_argnums=3)
    jax.monitoring.register_event_listener(listen)
    try:
        with compile_seconds() as seconds:
            lowered = step.lower(
                problem.weights, problem.task, engine.plan.space, engine.abstract_state
            )
            lowered.compile()
    finally:
        jax.monitoring.unregister_event_listener(listen)
    return seconds.get(STEP) if hits else None
