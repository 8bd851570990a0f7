import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.pairwise.graph import Graph
from protocols.pairwise.post import Post


@settings(deadline=None, max_examples=30)
@given(
    st.integers(2, 200),
    st.integers(1, 20),
    st.sampled_from([1, 16, 80]),
    st.binary(min_size=32, max_size=32),
    st.integers(0, 2**32),
)
def test_everybody_is_sent_what_neighbours_put_for_it(n: int, half: int, size: int, seed: bytes, draw: int) -> None:
    graph = Graph(n, min(n - 1, 2 * half), seed)
    spool: dict[int, bytes | memoryview] = {}
    post, rng = Post(graph, size, spool, 7), np.random.default_rng(draw)
    put: dict[tuple[int, int], bytes] = {}
    for sender in rng.permutation(n)[: n - n // 4].tolist():
        to = rng.random(len(graph.mirror)) < rng.choice([0.5, 1])
        entries = [rng.bytes(size) for _ in range(np.count_nonzero(to))]
        put |= {(sender, int(r)): e for r, e in zip(graph.neighbours(sender)[to], entries, strict=True)}
        post.put(sender, to, memoryview(b"".join(entries)))
    assert all(7 <= number < 7 + n for number in spool)
    post.sort()
    assert spool.keys() == set(range(7 + n, 7 + 2 * n))
    for recipient in range(n):
        expected = [put.get((int(sender), recipient), bytes(size)) for sender in graph.neighbours(recipient)]
        assert [entry.tobytes() for entry in post.delivered(recipient)] == expected
    post.clear()
    assert not spool


def test_what_waits_leaves_the_spool_with_the_phase_that_needed_it(new_world) -> None:  # type: ignore[no-untyped-def]
    """Boxes with the uploads, tags with the phase after them, and everything at the end."""
    world = new_world(8)
    spool = world.server.spool
    found = {}
    while world.server.phase != "done":
        found[world.server.phase] = sum(len(entry) for entry in spool.values()) // (8 * 7)
        world.step()
    assert found == {"advertise": 0, "share": 0, "upload": 80, "confirm": 16, "unmask": 16}
    assert not spool


@pytest.mark.parametrize("order", [1, -1])
def test_messages_are_the_same_in_any_order_and_each_time(new_world, order: int) -> None:  # type: ignore[no-untyped-def]
    world = new_world(60)
    world.until("upload")
    outbox = world.server.outbox()
    bodies = {to: world.honest(to.number) for to in list(outbox)[::order]}
    assert bodies == {to: world.honest(to.number) for to in sorted(outbox)}
