import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from protocols import Setup, SumSpec, enrol
from protocols.errors import SetupError, SpecError
from protocols.pairwise import graph
from protocols.pairwise.graph import Design, Graph, Tolerance, design, tail, weighted_tail


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 90), st.integers(1, 20), st.binary(min_size=32, max_size=32))
def test_neighbours_see_each_other_at_mirrored_places(n: int, half: int, seed: bytes) -> None:
    degree = 2 * half if 2 * half < n - 1 else n - 1
    laid = Graph(n, degree, seed)
    for u in range(n):
        found = laid.neighbours(u)
        assert len(set(found.tolist()) - {u}) == degree
        for place, v in enumerate(found):
            assert laid.neighbours(v)[laid.mirror[place]] == u


def test_another_seed_gives_other_neighbours() -> None:
    one, other = Graph(500, 20, bytes(32)), Graph(500, 20, bytes([1] * 32))
    assert sum(set(one.neighbours(u)) == set(other.neighbours(u)) for u in range(500)) == 0


def test_every_other_client_is_as_likely_a_neighbour() -> None:
    counts = np.zeros(30, int)
    for seed in range(2000):
        counts[Graph(30, 6, seed.to_bytes(32, "little")).neighbours(0)] += 1
    assert counts[0] == 0
    expected = 2000 * 6 / 29
    assert (abs(counts[1:] - expected) < 7 * math.sqrt(expected)).all()


@pytest.mark.parametrize(("population", "marked", "drawn"), [(999, 10, 58), (50, 20, 30), (9, 9, 4), (12, 0, 5)])
def test_tails_are_those_of_the_hypergeometric_distribution(population: int, marked: int, drawn: int) -> None:
    expected = hypergeom.sf(np.arange(drawn + 2) - 1, population, marked, drawn)
    np.testing.assert_allclose(tail(population, marked, drawn), expected, rtol=1e-9, atol=1e-300)


def test_weighted_tails_are_those_of_a_count_over_all_draws() -> None:
    population, marked, side = 9, 4, 3
    rng = np.random.default_rng(0)
    exact = np.zeros(3 * side + 2)
    for left in range(side + 1):
        for right in range(side + 1):
            rest = marked - left - right
            if 0 <= rest <= population - 2 * side:
                ways = math.comb(side, left) * math.comb(side, right) * math.comb(population - 2 * side, rest)
                exact[: left + 2 * right + 1] += ways / math.comb(population, marked)
    np.testing.assert_allclose(weighted_tail(population, marked, side), exact, rtol=1e-9)
    drawn = [rng.permutation(population) < marked for _ in range(4000)]
    counted = np.mean([row[:side].sum() + 2 * row[side : 2 * side].sum() >= 5 for row in drawn])
    assert abs(counted - exact[5]) < 0.04


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 1500), st.sampled_from([0.0, 0.1, 0.2]), st.sampled_from([0.01, 0.03]))
def test_a_design_keeps_both_promises(n: int, dropout: float, corrupt: float) -> None:
    tolerance = Tolerance(dropout, corrupt)
    laid = design(n, tolerance)
    k, t = laid.degree, laid.threshold
    assert 1 <= t <= k <= min(n - 1, 255)
    if k == n - 1:
        assert 2 * t > k + math.ceil(corrupt * n) or t == k
        return
    bad, gone = math.ceil(corrupt * n), math.ceil(dropout * n)
    weight = 2 * t - k - 1
    assert weighted_tail(n - 1, bad, k // 2)[weight + 1] * 2 * n <= 2.0**-80 * 1.0001 or weight >= 3 * k // 2
    assert hypergeom.cdf(t - 1, n - 1, n - 1 - gone, k) * n <= 2.0**-10 * 1.0001
    # More than half of the neighbours, corrupt ones apart: nobody is left with one side of the ring alone.
    assert t > k // 2


def test_more_to_tolerate_takes_more_neighbours() -> None:
    degrees = [design(1000, Tolerance(d, c)).degree for d, c in ((0.05, 0.01), (0.1, 0.01), (0.1, 0.03), (0.2, 0.03))]
    assert degrees == sorted(degrees) and len(set(degrees)) == 4


def test_small_cohorts_stand_on_the_complete_graph() -> None:
    assert design(2, Tolerance()) == Design(1, 1)
    assert design(8, Tolerance()) == Design(7, 5)
    assert design(40, Tolerance(0.3, 0.01)) == Design(39, 21)
    assert design(1000, Tolerance()).degree < 100


def test_a_cohort_that_would_take_too_many_neighbours_is_refused() -> None:
    with pytest.raises(SpecError, match="more than 255 neighbours"):
        design(1000, Tolerance(0.3, 0.3))


@pytest.mark.parametrize("bad", [(0.5, 0.01), (0.1, 0.009), (0.1, 0.31), (-0.1, 0.1), (0.1234567, 0.1)])
def test_a_tolerance_below_the_clients_floor_or_out_of_range_is_refused(bad: tuple[float, float]) -> None:
    with pytest.raises(SetupError, match="tolerated fraction"):
        Tolerance(*bad)


def test_a_client_takes_no_part_where_the_setup_tolerates_too_little() -> None:
    run = enrol("pairwise", SumSpec(4, 5, 2, 9), run_id=b"run", client_ids=range(5))
    setup = Setup.from_bytes(run.setup)
    for public_keys in (graph._TOLERANCE.pack(100, 0), bytes(3), bytes(5)):
        with pytest.raises(SetupError):
            replace(run, setup=replace(setup, public_keys=public_keys).signed(run.enrolment).to_bytes()).client(3)
    assert Tolerance.decode(Tolerance(0.25, 0.125).encode()) == Tolerance(0.25, 0.125)


@pytest.mark.parametrize("seed", range(5))
def test_survivors_with_enough_neighbours_always_form_one_sum(seed: int) -> None:
    """Whom a server declares gone it chooses; those it can still open stay connected (point 3 of the module)."""
    n, rng = 300, np.random.default_rng(seed)
    laid = design(n, Tolerance(0.1, 0.01))
    ring = Graph(n, laid.degree, rng.bytes(32))
    around = np.array([ring.neighbours(u) for u in range(n)])
    sizes = []
    for width in range(laid.degree):
        # What it can try: two gaps in the ring.
        alive = np.ones(n, bool)
        for start in (0, int(rng.integers(60, n - 60))):
            alive[ring.ring[(start + np.arange(width)) % n]] = False
        opened = alive & (np.count_nonzero(alive[around], axis=1) >= laid.threshold)
        # Two of them are in one sum if they are neighbours, for each must have the other's mask out of its own.
        reached = set(np.flatnonzero(opened)[:1].tolist())
        edge = set(reached)
        while edge:
            edge = {int(v) for u in edge for v in around[u] if alive[v]} - reached
            reached |= edge
        # Whoever is alive and cannot be opened keeps the sum of all that reach it closed.
        whole = all(opened[u] for u in reached)
        sizes.append(len(reached) if whole else 0)
        assert not whole or len(reached) == np.count_nonzero(alive)
    assert sizes[1] == n - 2 and sizes[-1] == 0
