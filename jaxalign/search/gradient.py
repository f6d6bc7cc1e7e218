"""Gradient descent on a soft prompt: the yardstick that says what a black-box search leaves behind.

Any scalar loss of a prompt will do, kinks included; the module knows neither model nor survey. Only
the prompt learns: what the loss works with (weights, task) is an argument and is never changed.
"""

import dataclasses
import functools
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import serialization, struct
from jax.extend.core import ClosedJaxpr, Jaxpr
from jaxtyping import Array, Float, Int

from jaxalign.files import FORMAT, write_file

_LOG = logging.getLogger(__name__)
Loss = Callable[[Any, jax.Array], jax.Array]
OnStep = Callable[[int, np.ndarray], None]

# A first rate, in standard deviations of the model's embedding table. Four countries from four
# starts each on the embedded model, 200 steps: 0.1 ended below 0.03 in 15 of 16 (else 0.9), 0.03
# stuck twice (0.5 and 9.3), and 0.3 ended as low as 0.1 with rows twice as long as a word's.
RELATIVE_RATE = 0.1

_adam = optax.scale_by_adam()
_PROGRAMS = (Jaxpr, ClosedJaxpr)


@dataclasses.dataclass(frozen=True, eq=False)
class Descent:
    """Hold what a descent found. Several starts have a leading axis, `*starts`.

    Attributes:
      prompt_LD: the best prompt that was evaluated, float32 on the device.
      loss: its loss by the arguments; +inf if no loss was finite.
      history_N: loss at each step, before the step's update; as it came, NaN included.
      evaluations_forward_equivalents: cost in forward passes, all starts together.
    """

    prompt_LD: Float[Array, "*starts L D"]
    loss: Float[np.ndarray, "*starts"]
    history_N: Float[np.ndarray, " N *starts"]
    evaluations_forward_equivalents: float


class Stopped(Exception):
    """A descent was told to stop; what it goes on from is saved."""


@dataclasses.dataclass(frozen=True)
class Store:
    """The file that a descent goes on from after a kill.

    Attributes:
      path: of the file.
      stop: whether to stop before a step.
      writes: whether this process is the one that writes.
    """

    path: Path
    stop: Callable[[int], bool] = lambda _: False
    writes: bool = True

    def load(self, like: dict[str, Any]) -> dict[str, Any]:
        """Return what was saved of this descent, or `like`, the beginning, if nothing was."""
        if not self.path.exists():
            return like
        try:
            saved = serialization.from_bytes(like, self.path.read_bytes())
        except Exception as error:  # whatever the damage makes msgpack raise
            _LOG.warning("%s is damaged (%s): the descent begins again", self.path, error)
            return like
        return saved if np.array_equal(saved["of"], like["of"]) else like

    def save(self, descent: dict[str, Any]) -> None:
        """Write where a descent is.

        Raises:
          UserError: the file cannot be written.
        """
        if self.writes:
            write_file(self.path, serialization.to_bytes(jax.device_get(descent)))


@struct.dataclass
class _State:
    """Hold the state between two steps; `scale` is halved by every step that fails."""

    step: Int[Array, ""]
    prompt_LD: Float[Array, "L D"]
    moments: Any
    scale: Float[Array, ""]
    best_prompt_LD: Float[Array, "L D"]
    best_loss: Float[Array, ""]


def descend(
    loss: Loss,
    args: Any,
    prompt_LD: Float[Array, "*starts L D"],
    steps: int,
    learning_rate: float,
    on_step: OnStep | None = None,
    *,
    turns: Sequence[Any] = (),
    score: Callable[[jax.Array], Any] | None = None,
    store: Store | None = None,
) -> Descent:
    """Improve a soft prompt by Adam, its rate falling to zero on a half cosine.

    Adam: Kingma and Ba, 2015, algorithm 1, with its defaults; the cosine: Loshchilov and Hutter,
    2017, equation 5, without restarts. A step whose loss or gradient is not finite changes no
    moment: the next one starts at the best prompt so far, with half the rate. Calls with the same
    `loss` object and shapes share one compilation, whatever the arguments, steps and rate.

    Args:
      loss: `args` and a prompt `[L, D]` to a scalar; pure.
      args: pytree of arrays that the loss works with.
      prompt_LD: where to start, not changed; `[P, L, D]` descends from P starts at once, each on
        its own, in the memory of P gradients.
      steps: N gradients, at least 1. What the last update makes is never evaluated.
      learning_rate: of the first step, in units of the prompt's coordinates.
      on_step: called with the step, from 0, and its loss; one step late, so that the device never
        waits for it.
      turns: pytrees like `args`, each for a step in turn, such as minibatches.
      score: of a prompt, asked after every round of turns (or ten steps) and at the end; the prompt
        of the least score is the result instead of that of the least loss.
      store: saves where the descent is after every round, and goes on from there.

    Raises:
      Stopped: the store said so.
      ValueError: no steps, a rate that is not positive and finite, or a prompt of another rank.
    """
    if steps < 1 or not 0 < learning_rate < math.inf:
        raise ValueError(f"needs a step and a positive rate, not {steps} and {learning_rate}")
    if jnp.ndim(prompt_LD) not in (2, 3):
        raise ValueError(f"a prompt is [L, D], several are [P, L, D], not {jnp.shape(prompt_LD)}")
    history: list[np.ndarray] = []

    def read(value: jax.Array) -> None:
        history.append(np.asarray(jax.device_get(value)))
        if on_step is not None:
            on_step(len(history) - 1, history[-1])

    late: jax.Array | None = None  # the last step's loss, not yet read

    def catch_up() -> None:
        nonlocal late
        if late is not None:
            read(late)
        late = None

    def save() -> None:
        if store is not None:
            catch_up()
            store.save(kept | {"state": state, "history": np.array(history)})

    begun_LD = np.asarray(prompt_LD, np.float32)
    kept = {
        "of": np.concatenate([[FORMAT, learning_rate, steps], begun_LD.ravel()]),
        "state": _start(prompt_LD),
        "history": np.zeros((0, *begun_LD.shape[:-2]), np.float32),
        "score": math.inf,
        "prompt": begun_LD,
    }
    if store is not None:
        kept = store.load(kept)
        history.extend(kept["history"])
    state = jax.device_put(kept["state"])
    plan = jax.device_put((np.float32(learning_rate), np.float32(steps)))
    for step in range(len(history), steps):
        if store is not None and store.stop(step):
            save()
            raise Stopped
        state, value = _step(loss, turns[step % len(turns)] if turns else args, state, *plan)
        catch_up()
        late = value
        if (step + 1) % (len(turns) or 10) == 0 or step + 1 == steps:
            if score is not None and (found := float(score(state.prompt_LD))) < kept["score"]:
                kept |= {"score": found, "prompt": np.asarray(state.prompt_LD)}
            save()
    catch_up()
    if kept["score"] < math.inf:
        best_LD = jnp.asarray(kept["prompt"])
        best_loss = jax.jit(loss)(args, best_LD)
        state = dataclasses.replace(state, best_prompt_LD=best_LD, best_loss=best_loss)
    given = turns[0] if turns else args
    one_LD = jax.ShapeDtypeStruct(jnp.shape(prompt_LD)[-2:], jnp.float32)
    gradients = steps * history[-1].size
    return Descent(
        prompt_LD=state.best_prompt_LD,
        loss=np.asarray(jax.device_get(state.best_loss)),
        history_N=np.stack(history),
        evaluations_forward_equivalents=gradients * forward_equivalents(loss, given, one_LD),
    )


def forward_equivalents(
    loss: Loss, args: Any, prompt_LD: Float[Array, "L D"] | jax.ShapeDtypeStruct
) -> float:
    """Return the cost of a value and its gradient, in evaluations of the loss.

    With frozen weights it is 2 for a product with a weight (forward, and back to the activations),
    3 for a product of two activations (attention), and 1 more for what `jax.checkpoint` makes
    again. Counted in the traced program, where loops have their lengths on any platform; XLA's own
    count takes a loop's body once. Time is another matter: a gradient also moves more memory.

    Args:
      loss: as `descend` takes it.
      args: as `descend` takes it; shapes and types are enough.
      prompt_LD: one prompt; its shape and type are enough.
    """
    forward = jax.make_jaxpr(loss)(args, prompt_LD)
    both = jax.make_jaxpr(jax.value_and_grad(loss, argnums=1))(args, prompt_LD)
    return _operations(both) / _operations(forward)


def _operations(jaxpr: Jaxpr | ClosedJaxpr) -> int:
    """Count two for each term of a matrix product; of anything else, one for each result."""
    total = 0
    for equation in jaxpr.eqns:
        results = sum(variable.aval.size for variable in equation.outvars)
        inner = [leaf for leaf in jax.tree.leaves(equation.params) if isinstance(leaf, _PROGRAMS)]
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            total += 2 * results * math.prod(equation.invars[0].aval.shape[i] for i in contracted)
        elif inner:
            total += equation.params.get("length", 1) * sum(map(_operations, inner))
        else:
            total += results
    return total


@jax.jit
def _start(prompt_LD: jax.Array) -> _State:
    """Return the state before the first step, compiled so that no buffer is shared."""

    def one(prompt_LD: jax.Array) -> _State:
        return _State(
            step=jnp.int32(0),
            prompt_LD=prompt_LD,
            moments=_adam.init(prompt_LD),
            scale=jnp.float32(1.0),
            best_prompt_LD=prompt_LD,
            best_loss=jnp.float32(jnp.inf),
        )

    return _each_start(one, prompt_LD.ndim, 0)(prompt_LD.astype(jnp.float32))


@functools.partial(jax.jit, static_argnums=0, donate_argnums=2)
def _step(
    loss: Loss, args: Any, state: _State, rate: jax.Array, steps: jax.Array
) -> tuple[_State, jax.Array]:
    """Update every start by one gradient; return the loss before the update."""

    def one(args: Any, state: _State) -> tuple[_State, jax.Array]:
        value, gradient_LD = jax.value_and_grad(loss, argnums=1)(args, state.prompt_LD)
        better = jnp.isfinite(value) & (value < state.best_loss)
        best_prompt_LD = jnp.where(better, state.prompt_LD, state.best_prompt_LD)
        update_LD, moments = _adam.update(gradient_LD, state.moments)
        scale = state.scale * rate * 0.5 * (1.0 + jnp.cos(jnp.pi * state.step / steps))
        usable = jnp.isfinite(value) & jnp.all(jnp.isfinite(gradient_LD))
        keep = functools.partial(jnp.where, usable)
        state = _State(
            step=state.step + 1,
            prompt_LD=keep(state.prompt_LD - scale * update_LD, best_prompt_LD),
            moments=jax.tree.map(keep, moments, state.moments),
            scale=keep(state.scale, 0.5 * state.scale),
            best_prompt_LD=best_prompt_LD,
            best_loss=jnp.where(better, value, state.best_loss),
        )
        return state, value

    return _each_start(one, state.prompt_LD.ndim, (None, 0))(args, state)


def _each_start(function: Callable, rank: int, axes: Any) -> Callable:
    """Return the function itself for a prompt `[L, D]`, mapped over the starts for `[P, L, D]`."""
    return function if rank == 2 else jax.vmap(function, in_axes=axes)
