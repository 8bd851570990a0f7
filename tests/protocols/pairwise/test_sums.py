import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import RoundAborted, SumSpec
from protocols.codec import FRAME_BYTES, Kind, read_frame
from protocols.pairwise.graph import Tolerance, design
from protocols.pairwise.masks import width_of

PHASE_NAMES = ("advertise", "share", "upload", "confirm", "unmask")


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_the_sum_is_the_plain_sum_or_the_round_is_given_up_for_a_reason(new_world, data: st.DataObject) -> None:  # type: ignore[no-untyped-def]
    """Any cohort, length, bits, sign, dropouts in any phases, orders of arrival."""
    n = data.draw(st.integers(2, 14))
    length = data.draw(st.integers(1, 70))
    bound = data.draw(st.integers(1, 1 << data.draw(st.integers(1, 40))))
    world = new_world(n, length, bound)
    if data.draw(st.booleans()):
        world.values[:] = data.draw(st.sampled_from([bound, -bound]))
    there: dict[str, set[int]] = {}
    left, given_up = set(world.ids), ""
    for phase in PHASE_NAMES:
        left -= data.draw(st.sets(st.sampled_from(world.ids), max_size=2)) if data.draw(st.booleans()) else set()
        there[phase] = set(left)
    try:
        for phase in PHASE_NAMES:
            world.step(gone=set(world.ids) - there[phase], order=data.draw(st.permutations(world.ids)))
    except RoundAborted as reason:
        given_up = str(reason)
    if given_up:
        assert re.fullmatch(r"Round 5 is given up: .*\.", given_up)
        # Everybody is everybody's neighbour here: with one client more than the threshold to the end, it goes on.
        cohort = len(there["advertise"])
        assert cohort < 2 or any(len(there[p]) <= design(cohort, world.tolerance).threshold for p in PHASE_NAMES[1:])
    else:
        assert world.server.result.survivors == there["upload"]
        assert (world.server.result.values == world.expected(there["upload"])).all()


@pytest.mark.parametrize("phase", PHASE_NAMES)
def test_thirty_percent_gone_in_any_one_phase_leave_an_exact_sum(new_world, phase: str) -> None:  # type: ignore[no-untyped-def]
    world = new_world(60, 200, 127)
    gone = set(np.random.default_rng(1).permutation(world.ids)[:18].tolist())
    assert design(60, world.tolerance).degree < 59
    opened = world.finish({name: gone for name in PHASE_NAMES[PHASE_NAMES.index(phase) :]})
    survivors = set(world.ids) - (gone if phase in PHASE_NAMES[:3] else set())
    assert opened.survivors == survivors
    assert (opened.values == world.expected(survivors)).all()
    assert opened.complaints == ()


def test_dropouts_in_every_phase_leave_an_exact_sum(new_world) -> None:  # type: ignore[no-untyped-def]
    world = new_world(40, 50, 1000)
    gone = {phase: set(world.ids[: 3 * (i + 1)]) for i, phase in enumerate(PHASE_NAMES)}
    opened = world.finish(gone)
    assert opened.survivors == set(world.ids[9:])
    assert (opened.values == world.expected(opened.survivors)).all()


@pytest.mark.parametrize("bound", [127, 32767])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_full_cohort_at_the_bound_sums_exactly(new_world, bound: int, sign: int) -> None:  # type: ignore[no-untyped-def]
    world = new_world(12, 5000, bound)
    world.values[:] = sign * bound
    opened = world.finish()
    assert (opened.values == sign * world.spec.sum_bound).all()


def test_noise_fits_and_a_sum_that_honest_clients_cannot_have_is_given_up(new_world) -> None:  # type: ignore[no-untyped-def]
    world = new_world(6, 30, 5)
    world.spec = SumSpec(30, 6, 2, 5, 100.0)
    world.__post_init__()
    world.values[:] = 5 + np.rint(np.random.default_rng(0).normal(0, 100, (6, 30))).astype(np.int64)
    assert (world.finish().values == world.expected(world.ids)).all()
    world.open(6)
    world.values[:] = world.spec.sum_bound // 5
    with pytest.raises(RoundAborted, match="a sum beyond"):
        world.finish()


def test_consecutive_rounds_of_the_same_parties_sum_exactly(new_world) -> None:  # type: ignore[no-untyped-def]
    world = new_world(9)
    world.finish()
    world.open(6)
    assert (world.finish().values == world.expected(world.ids)).all()


def test_an_upload_has_the_bytes_that_its_numbers_need(new_world) -> None:  # type: ignore[no-untyped-def]
    world = new_world(20, 53_824, 127, tolerance=Tolerance())
    world.finish()
    bits, beside = width_of(world.spec) * 53_824, FRAME_BYTES[Kind.VECTOR] + 19 * 16
    assert all(len(answer) == beside + bits // 8 for answer in world.answers["upload"].values())


def test_one_upload_alone_is_uniform_whatever_it_carries(new_world) -> None:  # type: ignore[no-untyped-def]
    """Chi-squared over the bytes of single uploads of zeros, and of their difference; exceeded once in 10^8."""
    world = new_world(5, 64_000, 127)
    world.values[:] = 0
    world.until("confirm")
    bodies = [np.frombuffer(read_frame(upload).body[4 * 16 :], np.uint8) for upload in world.answers["upload"].values()]
    assert all(8 * len(body) == 64_000 * width_of(world.spec) for body in bodies)
    for looked_at in (*bodies, bodies[0] - bodies[1], bodies[0] ^ bodies[1]):
        counts = np.bincount(looked_at, minlength=256)
        expected = len(looked_at) / 256
        assert ((counts - expected) ** 2 / expected).sum() < 400
