"""The Pareto front against a brute-force one in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jaxalign.search.pareto import empty_pareto_front, merge

SIZE, OBJECTIVES, COUNT = 5, 2, 9
# Few values, so that ties and equal candidates are common; and what must never enter.
VALUES = st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.5, -2.0, 1e6, np.inf, -np.inf, np.nan])
TERMS = hnp.arrays(np.float32, (COUNT, OBJECTIVES), elements=VALUES)
merged = jax.jit(merge)


def prompts_of(terms_PO: np.ndarray, shift: int = 0) -> np.ndarray:
    """A prompt that tells its candidate's number, float32 [P, 1, 3]."""
    numbers = shift + np.arange(len(terms_PO), dtype=np.float32)
    return np.repeat(numbers, 3).reshape(-1, 1, 3)


def empty(size: int = SIZE):
    return empty_pareto_front(size, OBJECTIVES, jnp.zeros((1, 3)))


def members(front) -> tuple[np.ndarray, np.ndarray]:
    """Objectives and prompts of the rows that hold a member."""
    terms_KO = np.asarray(front.terms_KO)
    held_K = np.isfinite(terms_KO).all(axis=1)
    assert np.isposinf(terms_KO[~held_K]).all()
    return terms_KO[held_K], np.asarray(front.prompts_KLD)[held_K]


def beats(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((one <= other).all() and (one < other).any())


def brute_force(terms_PO: np.ndarray) -> set[tuple[float, ...]]:
    """Objectives of all finite candidates that no finite candidate beats."""
    sound = [row for row in terms_PO if np.isfinite(row).all()]
    return {tuple(row) for row in sound if not any(beats(other, row) for other in sound)}


@settings(max_examples=200, deadline=None)
@given(TERMS)
def test_a_front_with_room_is_the_brute_force_one(terms_PO):
    front = merged(empty(COUNT), terms_PO, prompts_of(terms_PO))
    found_KO, prompts_KLD = members(front)
    assert {tuple(row) for row in found_KO} == brute_force(terms_PO)
    assert len({tuple(row) for row in found_KO}) == len(found_KO)  # of equal ones one stays
    for terms_O, prompt_LD in zip(found_KO, prompts_KLD, strict=True):
        np.testing.assert_array_equal(terms_PO[int(prompt_LD[0, 0])], terms_O)


@settings(max_examples=200, deadline=None)
@given(TERMS)
def test_a_small_front_holds_what_nothing_beats_and_the_extremes(terms_PO):
    found_KO, prompts_KLD = members(merged(empty(), terms_PO, prompts_of(terms_PO)))
    whole = brute_force(terms_PO)
    found = {tuple(row) for row in found_KO}
    assert found <= whole and len(found) == len(found_KO) == min(SIZE, len(whole))
    for objective in range(OBJECTIVES):
        for end in (min, max):
            extremes = {row[objective] for row in whole}
            if extremes:
                assert end(extremes) in {row[objective] for row in found}
    for terms_O, prompt_LD in zip(found_KO, prompts_KLD, strict=True):
        np.testing.assert_array_equal(terms_PO[int(prompt_LD[0, 0])], terms_O)


@settings(max_examples=100, deadline=None)
@given(TERMS, TERMS, TERMS)
def test_merging_in_parts_equals_merging_at_once(first_PO, second_PO, third_PO):
    parts, front = [first_PO, second_PO, third_PO], empty(3 * COUNT)
    for number, terms_PO in enumerate(parts):
        front = merged(front, terms_PO, prompts_of(terms_PO, shift=COUNT * number))
    everything = np.concatenate(parts)
    found_KO, prompts_KLD = members(front)
    assert {tuple(row) for row in found_KO} == brute_force(everything)
    assert len({tuple(row) for row in found_KO}) == len(found_KO)
    for terms_O, prompt_LD in zip(found_KO, prompts_KLD, strict=True):
        np.testing.assert_array_equal(everything[int(prompt_LD[0, 0])], terms_O)


@settings(max_examples=100, deadline=None)
@given(TERMS, TERMS)
def test_a_small_front_never_gets_worse(first_PO, second_PO):
    before = merged(empty(), first_PO, prompts_of(first_PO))
    after = merged(before, second_PO, prompts_of(second_PO))
    old_KO, new_KO = members(before)[0], members(after)[0]
    everything = brute_force(np.concatenate([first_PO, second_PO]))
    sound_PO = second_PO[np.isfinite(second_PO).all(axis=1)]
    for row in new_KO:
        assert not any(beats(other, row) for other in (*old_KO, *sound_PO))
    for objective in range(OBJECTIVES):
        if everything:
            best = min(row[objective] for row in everything)
            assert new_KO[:, objective].min() == best


def test_nothing_that_is_not_finite_ever_enters():
    bad = np.array([[np.nan, -5.0], [-np.inf, 0.0], [np.inf, -9.0], [-5.0, np.nan]], np.float32)
    front = merged(empty(), bad, prompts_of(bad))
    assert len(members(front)[0]) == 0
    good = np.array([[1.0, 1.0]], np.float32)
    found_KO, _ = members(merged(front, good, prompts_of(good)))
    np.testing.assert_array_equal(found_KO, good)


def test_the_crowded_go_first():
    """Of five on a line, the inner one with the closest neighbours leaves a front of four."""
    line = np.array([0.0, 4.0, 5.0, 6.0, 10.0], np.float32)
    terms_PO = np.stack([line, 10 - line], axis=1)
    found_KO, _ = members(merged(empty(4), terms_PO, prompts_of(terms_PO)))
    assert sorted(found_KO[:, 0]) == [0.0, 4.0, 6.0, 10.0]


def test_one_compilation_serves_all_generations():
    traces = []

    def counted(*arguments):
        traces.append(1)
        return merge(*arguments)

    compiled, front = jax.jit(counted), empty()
    for shift in range(4):
        terms_PO = np.full((COUNT, OBJECTIVES), float(-shift), np.float32)
        front = compiled(front, terms_PO, prompts_of(terms_PO))
    assert len(traces) == 1
    np.testing.assert_array_equal(members(front)[0], [[-3.0, -3.0]])
