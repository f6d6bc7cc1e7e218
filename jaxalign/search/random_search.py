"""Random search: what any strategy has to beat."""

import jax
import jax.numpy as jnp
from evosax.algorithms.population_based.base import Params, PopulationBasedAlgorithm, State


class RandomSearch(PopulationBasedAlgorithm):
    """Draw every candidate independently, and learn nothing from any loss.

    Each coordinate is normal with its mean and standard deviation over the initial population,
    which `state.population` holds for good. evosax's own wants a function that draws, and has no
    initial population to draw like.
    """

    @property
    def _default_params(self) -> Params:
        return Params()

    def _init(self, key: jax.Array, params: Params) -> State:
        size, width = self.population_size, self.num_dims
        return State(
            population=jnp.zeros((size, width), jnp.float32),
            fitness=jnp.full(size, jnp.inf, jnp.float32),
            best_solution=jnp.zeros(width, jnp.float32),
            best_fitness=jnp.float32(jnp.inf),
            generation_counter=jnp.int32(0),
        )

    def _ask(self, key: jax.Array, state: State, params: Params) -> tuple[jax.Array, State]:
        mean_N = jnp.mean(state.population, axis=0, keepdims=True)
        spread_N = jnp.std(state.population, axis=0, keepdims=True)
        return mean_N + spread_N * jax.random.normal(key, state.population.shape), state

    def _tell(
        self,
        key: jax.Array,
        population: jax.Array,
        fitness: jax.Array,
        state: State,
        params: Params,
    ) -> State:
        return state
