import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import errors
from protocols.pairwise.wire import Neighbours, read_bits, read_entries, write_bits


@given(st.lists(st.booleans(), max_size=40))
def test_sets_come_back(members: list[bool]) -> None:
    data = write_bits(np.array(members, bool))
    assert read_bits(data, len(members), what="It").tolist() == members


@pytest.mark.parametrize("n", [1, 7, 9, 12])
def test_a_set_that_names_somebody_beyond_the_last_is_refused(n: int) -> None:
    data = bytearray(write_bits(np.zeros(n, bool)))
    data[-1] |= 0x80
    with pytest.raises(errors.LeftoverError, match="It names somebody"):
        read_bits(bytes(data), n, what="It")


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=300), st.integers(1, 20), st.integers(1, 80))
def test_any_bytes_are_read_completely_or_refused(data: bytes, n: int, size: int) -> None:
    try:
        members, entries = read_entries(memoryview(data), n, size, what="It")
    except errors.ProtocolError:
        pass
    else:
        assert write_bits(members) + b"".join(entries) == data
    try:
        listed = Neighbours.read(memoryview(data), n)
    except errors.ProtocolError:
        pass
    else:
        assert write_bits(listed.advertised) + listed.proof + b"".join(listed.keys) == data
