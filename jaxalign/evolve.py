"""One generation of the search.

A generation evaluates E = G × P candidates: P for each of G countries that are searched for at
once. What a candidate answers does not depend on the country, so every candidate counts for all.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxalign.objective import Evaluation, Task, read_means
from jaxalign.search import ExpectedAnswers, Space, Strategy
from jaxalign.search.pareto import empty_pareto_front, merge
from jaxalign.search.state import Chosen, Metrics, RunState


@dataclasses.dataclass(frozen=True)
class Evolution:
    """The pure steps of a search, to be jitted with the state donated.

    Attributes:
      strategy: proposes and selects, for one country.
      evaluate: called like a `fitness.Evaluator`.
      migrants: candidates of other countries that may enter a country's population in a generation.
      reevaluate: every so many generations the members are evaluated again instead of candidates,
        for a loss that changes; 0 for never.
      front_size: members of the Pareto front; 0 for none.
      objectives: indices into `Goal.terms` of the front's objectives.
      choose: like `evaluate`, of prompts in the presentations to choose by.
    """

    strategy: Strategy
    evaluate: Callable[..., Evaluation]
    migrants: int = 0
    reevaluate: int = 0
    front_size: int = 0
    objectives: tuple[int, ...] = ()
    choose: Callable[..., Evaluation] | None = None

    def start(
        self,
        weights: Any,
        task: Task,
        space: Space,
        params: Any,
        vectors_E: Float[Array, "E ..."],
        key: jax.Array,
    ) -> tuple[RunState, Metrics]:
        """Evaluate the initial population (generation 0); each country takes the best P of it.

        Args:
          weights: the model's.
          task: what is asked and wanted.
          space: where the search takes place.
          params: of the strategy.
          vectors_E: the initial population, for all countries together.
          key: becomes the run's root key.
        """
        task = task.at(jnp.int32(0))
        init_key, evaluate_key = jax.random.split(jax.random.fold_in(key, 0))
        vectors_E = self._confine(space, vectors_E.reshape(-1, *self.strategy.shape))
        prompts_ELD = space.prompts(vectors_E.reshape(-1, *space.shape))
        everyone = jnp.int32(vectors_E.shape[0])
        result = self.evaluate(weights, task, prompts_ELD, key=evaluate_key, count=everyone)
        countries, candidates = result.loss_GP.shape
        chosen_GP = jnp.broadcast_to(jnp.arange(candidates), (1, candidates))
        if countries > 1:
            chosen_GP = jnp.argsort(result.loss_GP, axis=1)[:, : candidates // countries]
        loss_GP = jnp.take_along_axis(result.loss_GP, chosen_GP, axis=1)
        answers, axes = self._answers(task, result, jnp.broadcast_to(chosen_GP, loss_GP.shape))
        strategy = jax.vmap(self.strategy.init, in_axes=(0, None, 0, 0, axes))(
            _keys(init_key, countries), params, vectors_E[chosen_GP], loss_GP, answers
        )
        front = empty_pareto_front(self.front_size, len(self.objectives), prompts_ELD[0])
        nothing_G = jnp.full(countries, jnp.inf)

        def for_all(leaf: jax.Array) -> jax.Array:
            return jnp.broadcast_to(leaf, (countries, *leaf.shape))

        before = RunState(
            key=key,
            strategy=strategy,
            params=params,
            best_prompt_GLD=for_all(prompts_ELD[0]),
            best_scores_GC=for_all(result.scores_PC[0]),
            front=jax.tree.map(for_all, front) if self.front_size else None,
            metrics=Metrics(
                generation=jnp.int32(-1),
                evaluations=jnp.int32(0),
                failed=jnp.int32(0),
                best_loss_G=nothing_G,
                generation_best_G=nothing_G,
                generation_mean_G=_finite_mean(loss_GP),
                accepted_G=jnp.zeros(countries, jnp.int32),
                prompt_norm_G=jnp.zeros(countries),
                terms_GO=result.terms_GPO[:, 0],
            ),
        )
        if task.choosing is not None:
            best = before.best_prompt_GLD, nothing_G, before.best_scores_GC, before.metrics.terms_GO
            metrics = dataclasses.replace(before.metrics, chosen_loss_G=nothing_G)
            before = dataclasses.replace(before, metrics=metrics, chosen=Chosen(*best))
        state = self._record(before, prompts_ELD, result, everyone)
        state = self._choose(weights, task, before, state)
        return state, state.metrics

    def step(
        self, weights: Any, task: Task, space: Space, state: RunState
    ) -> tuple[RunState, Metrics]:
        """Run one generation: ask, evaluate, tell, exchange. Nothing leaves the device."""
        generation = state.metrics.generation + 1
        task = task.at(generation)
        ask_key, evaluate_key, tell_key = jax.random.split(
            jax.random.fold_in(state.key, generation), 3
        )
        countries = state.metrics.best_loss_G.shape[0]
        with jax.named_scope("ask"):  # for profiles, and so are the others
            vectors_GP, asked = jax.vmap(self.strategy.ask, in_axes=(0, None, 0))(
                _keys(ask_key, countries), state.params, state.strategy
            )
        again = self._evaluates_members(generation)
        if again is not None:
            members_GP = jax.vmap(self.strategy.members)(state.strategy)
            vectors_GP = jnp.where(again, members_GP, vectors_GP)
        vectors_GP = self._confine(space, vectors_GP)

        # Candidate p of country g has index p × G + g, so that the first ones of all come first.
        vectors_E = jnp.swapaxes(vectors_GP, 0, 1).reshape(-1, *vectors_GP.shape[2:])
        prompts_ELD = space.prompts(vectors_E.reshape(-1, *space.shape))
        count = countries * jnp.max(jax.vmap(self.strategy.active)(asked))
        with jax.named_scope("evaluate"):
            result = self.evaluate(weights, task, prompts_ELD, key=evaluate_key, count=count)
        own_GP = jnp.arange(vectors_E.shape[0]).reshape(-1, countries).T
        loss_GP = jnp.take_along_axis(result.loss_GP, own_GP, axis=1)
        answers, axes = self._answers(task, result, own_GP)
        with jax.named_scope("tell"):
            updated = jax.vmap(self.strategy.tell, in_axes=(0, None, 0, 0, 0, axes))(
                _keys(tell_key, countries), state.params, vectors_GP, loss_GP, asked, answers
            )
        accepted_G = jax.vmap(self.strategy.accepted)(asked, updated)
        offered_GE = result.loss_GP
        if again is not None:
            refreshed = jax.vmap(self.strategy.refresh)(state.strategy, loss_GP)
            updated = jax.tree.map(lambda new, old: jnp.where(again, new, old), refreshed, updated)
            accepted_G = jnp.where(again, 0, accepted_G)
            # Members were offered to the other countries before, and would come in twice.
            offered_GE = jnp.where(again, jnp.inf, offered_GE)
        if countries > 1 and self.migrants and self.strategy.exchanges:
            updated = self._exchange(updated, vectors_E, offered_GE)
        metrics = dataclasses.replace(
            state.metrics, accepted_G=accepted_G, generation_mean_G=_finite_mean(loss_GP)
        )
        before = dataclasses.replace(state, strategy=updated, metrics=metrics)
        state = self._record(before, prompts_ELD, result, count, again)
        state = self._choose(weights, task, before, state)
        return state, state.metrics

    def _confine(self, space: Space, vectors: jax.Array) -> jax.Array:
        """Apply `Space.confine` to vectors in the strategy's shape."""
        if not space.confines:  # to reshape and back would gather what devices share
            return vectors
        leading = vectors.shape[: vectors.ndim - len(self.strategy.shape)]
        return space.confine(vectors.reshape(*leading, *space.shape)).reshape(vectors.shape)

    def _answers(self, task: Task, result: Evaluation, own_GP: jax.Array) -> tuple[Any, Any]:
        """Return the answers of each country's candidates and their axis of countries, if read."""
        if not self.strategy.reads_answers:
            return None, None
        means_EFI, weights_CI, wanted_GC = read_means(task.goal, result.answers_PQA)
        answers = ExpectedAnswers(means_EFI[own_GP], weights_CI, wanted_GC)
        return answers, ExpectedAnswers(0, None, 0)

    def _evaluates_members(self, generation: jax.Array) -> jax.Array | None:
        """Whether the members are evaluated again; None where that never happens."""
        if not self.reevaluate or not self.strategy.exchanges:
            return None
        return generation % self.reevaluate == 0

    def _exchange(self, strategy: Any, vectors_E: jax.Array, loss_GE: jax.Array) -> Any:
        """Offer each country the best candidates of the others."""
        countries, candidates = loss_GE.shape
        own_GE = jnp.arange(candidates)[None] % countries == jnp.arange(countries)[:, None]
        foreign_GE = jnp.where(own_GE, jnp.inf, loss_GE)
        best_GK = jnp.argsort(foreign_GE, axis=1)[:, : self.migrants]
        return jax.vmap(self.strategy.receive)(
            strategy, vectors_E[best_GK], jnp.take_along_axis(foreign_GE, best_GK, axis=1)
        )

    def _record(
        self,
        state: RunState,
        prompts_ELD: jax.Array,
        result: Evaluation,
        count: jax.Array,
        again: jax.Array | None = None,
    ) -> RunState:
        """Return the state with the best so far, the front and the metrics brought up to date."""
        winner_G = jnp.argmin(result.loss_GP, axis=1)
        loss_G = jnp.min(result.loss_GP, axis=1)
        best_loss_G = state.metrics.best_loss_G
        if again is not None:  # what was best by luck no longer counts
            best_loss_G = jnp.where(again & jnp.isfinite(loss_G), jnp.inf, best_loss_G)
        better_G = loss_G < best_loss_G
        best_prompt_GLD = jnp.where(
            better_G[:, None, None], prompts_ELD[winner_G], state.best_prompt_GLD
        )
        terms_GO = result.terms_GPO[jnp.arange(winner_G.shape[0]), winner_G]
        counted_E = jnp.arange(prompts_ELD.shape[0]) < count
        lost_GE = ~jnp.isfinite(result.loss_GP)
        metrics = dataclasses.replace(
            state.metrics,
            generation=state.metrics.generation + 1,
            evaluations=state.metrics.evaluations + count,
            failed=jnp.sum(counted_E & jnp.any(lost_GE, axis=0), dtype=jnp.int32),
            best_loss_G=jnp.minimum(best_loss_G, loss_G),
            generation_best_G=loss_G,
            prompt_norm_G=jnp.mean(jnp.linalg.norm(best_prompt_GLD, axis=-1), axis=-1),
            terms_GO=jnp.where(better_G[:, None], terms_GO, state.metrics.terms_GO),
        )
        front = state.front
        if front is not None:
            objectives_GEO = result.terms_GPO[..., jnp.array(self.objectives)]
            objectives_GEO = jnp.where(counted_E[None, :, None], objectives_GEO, jnp.inf)
            front = jax.vmap(merge, in_axes=(0, 0, None))(front, objectives_GEO, prompts_ELD)
        return dataclasses.replace(
            state,
            strategy=jax.tree.map(_strong, state.strategy),
            best_prompt_GLD=best_prompt_GLD,
            best_scores_GC=jnp.where(
                better_G[:, None], result.scores_PC[winner_G], state.best_scores_GC
            ),
            front=front,
            metrics=metrics,
        )

    def _choose(self, weights: Any, task: Task, before: RunState, state: RunState) -> RunState:
        """Return the state with new best prompts kept where they do better elsewhere too."""
        choose, choosing = self.choose, task.choosing
        if choose is None or choosing is None or state.chosen is None:
            return state
        better_G = state.metrics.best_loss_G != before.metrics.best_loss_G
        own_G = jnp.arange(better_G.shape[0])

        def score() -> jax.Array:
            result = choose(weights, choosing, state.best_prompt_GLD, key=state.key)
            return result.loss_GP[own_G, own_G]

        nothing_G = jnp.full(better_G.shape, jnp.inf)
        with jax.named_scope("choose"):
            loss_G = jax.lax.cond(jnp.any(better_G), score, lambda: nothing_G)
        wins_G = better_G & (loss_G < state.metrics.chosen_loss_G)
        best = Chosen(
            state.best_prompt_GLD,
            state.metrics.best_loss_G,
            state.best_scores_GC,
            state.metrics.terms_GO,
        )

        def keep(new: jax.Array, old: jax.Array) -> jax.Array:
            return jnp.where(wins_G.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        metrics = dataclasses.replace(
            state.metrics, chosen_loss_G=keep(loss_G, state.metrics.chosen_loss_G)
        )
        chosen = jax.tree.map(keep, best, state.chosen)
        return dataclasses.replace(state, metrics=metrics, chosen=chosen)


def _keys(key: jax.Array, countries: int) -> jax.Array:
    """One key for each country; the first ones do not depend on how many there are."""
    return jax.vmap(lambda index: jax.random.fold_in(key, index))(jnp.arange(countries))


def _finite_mean(loss_GP: jax.Array) -> jax.Array:
    """Mean of the finite losses of each country; +inf if there is none."""
    finite_GP = jnp.isfinite(loss_GP)
    count_G = jnp.sum(finite_GP, axis=1)
    total_G = jnp.sum(jnp.where(finite_GP, loss_GP, 0.0), axis=1)
    return jnp.where(count_G > 0, total_G / jnp.maximum(count_G, 1), jnp.inf)


def _strong(leaf: jax.Array) -> jax.Array:
    """Strip the weak type of Python numbers, which a checkpoint would not bring back."""
    is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return leaf if is_key else leaf.astype(leaf.dtype)
