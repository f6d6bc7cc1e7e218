"""The Pareto front of what a search has seen: no member is beaten on all objectives by another."""

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float


@struct.dataclass
class ParetoFront:
    """Hold at most K candidates, in no order.

    Attributes:
      terms_KO: their objectives, each to be minimised; +inf where there is no member.
      prompts_KLD: their soft prompts.
    """

    terms_KO: Float[Array, "K O"]
    prompts_KLD: Float[Array, "K L D"]


def empty_pareto_front(size: int, objectives: int, prompt_LD: Float[Array, "L D"]) -> ParetoFront:
    """Return a front without members, for prompts of a shape."""
    return ParetoFront(
        terms_KO=jnp.full((size, objectives), jnp.inf, jnp.float32),
        prompts_KLD=jnp.zeros((size, *prompt_LD.shape), prompt_LD.dtype),
    )


def merge(
    front: ParetoFront, terms_PO: Float[Array, "P O"], prompts_PLD: Float[Array, "P L D"]
) -> ParetoFront:
    """Return the front of old members and new candidates.

    Where more than K are left the most crowded go (Deb et al. 2002, NSGA-II, section III.B), so the
    extremes of every objective stay. Candidates with a non-finite objective never enter. Costs
    O((K + P)² O) comparisons and one copy of K prompts.
    """
    size = front.terms_KO.shape[0]
    sound_P = jnp.all(jnp.isfinite(terms_PO), axis=-1)
    terms_MO = jnp.concatenate(
        [front.terms_KO, jnp.where(sound_P[:, None], terms_PO, jnp.inf)], axis=0
    )
    member_M = _undominated(terms_MO)
    crowding_M = _crowding(jnp.where(member_M[:, None], terms_MO, jnp.inf))
    chosen_K = jnp.argsort(jnp.where(member_M, -crowding_M, jnp.inf), stable=True)[:size]
    prompts_KLD = jnp.where(
        (chosen_K < size)[:, None, None],
        front.prompts_KLD[jnp.minimum(chosen_K, size - 1)],
        prompts_PLD[jnp.maximum(chosen_K - size, 0)],
    )
    kept_K = member_M[chosen_K]
    return ParetoFront(jnp.where(kept_K[:, None], terms_MO[chosen_K], jnp.inf), prompts_KLD)


def _undominated(terms_MO: jax.Array) -> jax.Array:
    """Return whether each candidate is on the Pareto front; the first of equal ones is."""
    ours_MMO, theirs_MMO = terms_MO[:, None], terms_MO[None]
    no_worse_MM = jnp.all(theirs_MMO <= ours_MMO, axis=-1)
    better_MM = jnp.any(theirs_MMO < ours_MMO, axis=-1)
    earlier_MM = jnp.tri(terms_MO.shape[0], k=-1, dtype=bool)
    beaten_M = jnp.any(no_worse_MM & (better_MM | earlier_MM), axis=1)
    return ~beaten_M & jnp.all(jnp.isfinite(terms_MO), axis=-1)


def _crowding(terms_MO: jax.Array) -> jax.Array:
    """Sum, over objectives, the gap between a member's neighbours; +inf at the ends."""

    def along(values_M: jax.Array) -> jax.Array:
        order_M = jnp.argsort(values_M)
        sorted_M = values_M[order_M]
        finite_M = jnp.isfinite(sorted_M)
        span = jnp.max(jnp.where(finite_M, sorted_M, -jnp.inf)) - sorted_M[0]
        before_M = jnp.concatenate([jnp.full(1, -jnp.inf), sorted_M[:-1]])
        after_M = jnp.concatenate([sorted_M[1:], jnp.full(1, jnp.inf)])
        gap_M = jnp.where(finite_M, (after_M - before_M) / jnp.maximum(span, 1e-12), 0.0)
        return jnp.zeros_like(values_M).at[order_M].set(gap_M)

    return jnp.sum(jax.vmap(along, in_axes=1)(terms_MO), axis=0)
