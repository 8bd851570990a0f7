"""A network that changes, cuts, repeats, delays and swaps whatever passes, in every phase, both ways. The round
opens the exact sum of those it says it opened, or is given up: never anything else, never an error of another kind.
"""

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import Address, Enrolled, LocalParties, ProtocolError, RoundAborted, SumSpec, conduct, enrol
from protocols.codec import read_frame

SPEC = SumSpec(length=30, max_clients=6, min_clients=2, value_bound=100)
VALUES = np.random.default_rng(0).integers(-100, 101, (6, 30))
ACTS = ["pass", "pass", "lose", "flip", "cut", "pad", "twice", "swap", "noise"]


@lru_cache
def shared(name: str) -> Enrolled:
    return enrol(name, SPEC, run_id=b"run", client_ids=range(6))


rounds = iter(range(1 << 30))


@pytest.mark.parametrize("name", ["plain", "ckks"])
@settings(deadline=None, max_examples=80)
@given(data=st.data())
def test_whatever_a_network_does_a_round_opens_exactly_or_not_at_all(name: str, data: st.DataObject) -> None:
    run = shared(name)
    parties = LocalParties(run)
    parties.values = dict(enumerate(VALUES))
    opened = run.server().open_round(next(rounds), context=bytes(32), min_survivors=2)
    seen: list[bytes] = []

    def carry(message: bytes) -> bytes | None:
        act = data.draw(st.sampled_from(ACTS))
        seen.append(message)
        if act == "lose":
            return None
        if act == "flip":
            changed = bytearray(message)
            for _ in range(data.draw(st.integers(1, 3))):
                changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
            return bytes(changed)
        if act == "cut":
            return message[: data.draw(st.integers(0, len(message) - 1))]
        if act == "pad":
            return message + data.draw(st.binary(min_size=1, max_size=80))
        if act == "twice":
            return message + message
        if act == "swap":
            return data.draw(st.sampled_from(seen))
        if act == "noise":
            return data.draw(st.binary(max_size=300))
        return message

    def deliver(to: Address, message: bytes) -> bytes | None:
        carried = carry(message)
        if carried is None:
            return None
        if to.role == "client" and carried != message:
            # A client that is shown something else than the broadcast joins no round.
            with pytest.raises(ProtocolError, match="[.]$"):
                run.client(to.number).join(carried)
            return None
        answer = parties(to, carried)
        return answer and carry(answer)

    try:
        result = conduct(opened, deliver)
    except RoundAborted as reason:
        assert str(reason).endswith(".") and opened.phase == "aborted"
        return
    assert len(result.survivors) >= 2
    assert (result.values == VALUES[sorted(result.survivors)].sum(0)).all()
    assert all(sentence.endswith(".") for sentence in result.complaints)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_no_frame(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="[.]$"):
        read_frame(data)
    with pytest.raises(ProtocolError, match="[.]$"):
        read_frame(b"srec\3\2\2\2\1" + data)
    for party in (run := shared("ckks")).decryptors[0].answer, run.client(0).join:
        with pytest.raises(ProtocolError, match="[.]$"):
            party(data)
