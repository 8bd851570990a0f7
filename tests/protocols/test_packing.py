import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import errors
from protocols.packing import Streams

VECTORS = json.loads((Path(__file__).parent / "vectors" / "packing.json").read_text())


def bit_string(rows: list[list[int]], moduli: list[int]) -> bytes:
    """The wire form, from the definition, in Python's integers."""
    data = b""
    for row, modulus in zip(rows, moduli, strict=True):
        width = (modulus - 1).bit_length()
        number = sum(value << width * i for i, value in enumerate(row))
        data += number.to_bytes(-(-width * len(row) // 64) * 8, "little")
    return data


@st.composite
def bodies(draw: st.DrawFn) -> tuple[list[int], list[list[int]]]:
    moduli = draw(st.lists(st.integers(2, 2**63), min_size=1, max_size=3))
    count = draw(st.integers(1, 70))
    return moduli, [draw(st.lists(st.integers(0, q - 1), min_size=count, max_size=count)) for q in moduli]


@settings(deadline=None)
@given(bodies())
def test_packing_is_the_bit_string_of_the_definition_and_unpacks_to_itself(
    body: tuple[list[int], list[list[int]]],
) -> None:
    moduli, rows = body
    streams = Streams(tuple(moduli), len(rows[0]))
    packed = streams.pack(np.array(rows, np.uint64))
    assert packed == bit_string(rows, moduli)
    assert len(packed) == streams.n_bytes
    again = streams.zeros()
    streams.unpack(packed, again, what="It")
    assert again.tolist() == rows


@settings(deadline=None)
@given(bodies(), st.data())
def test_many_bodies_at_once_are_judged_and_read_as_each_alone(
    body: tuple[list[int], list[list[int]]], data: st.DataObject
) -> None:
    moduli, rows = body
    streams = Streams(tuple(moduli), len(rows[0]))
    packed = streams.pack(np.array(rows, np.uint64))
    together = [packed]
    for _ in range(3):
        changed = bytearray(packed)
        changed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
        together.append(bytes(changed))
    into = np.zeros((len(moduli), len(together), streams.count), np.uint64)
    good = streams.unpack_all(together, into)
    for place, each in enumerate(together):
        alone = streams.zeros()
        try:
            streams.unpack(each, alone, what="It")
        except (errors.ResidueError, errors.LeftoverError):
            assert not good[place]
        else:
            assert good[place] and (into[:, place] == alone).all()
    with pytest.raises(errors.WrongLengthError, match=f"{len(packed) - 1} bytes"):
        streams.unpack_all([packed, packed[:-1]], into)


@settings(deadline=None)
@given(bodies())
def test_adding_is_modular(body: tuple[list[int], list[list[int]]]) -> None:
    moduli, rows = body
    streams = Streams(tuple(moduli), len(rows[0]))
    total = np.array(rows, np.uint64)
    streams.add(total, np.array(rows, np.uint64)[:, ::-1].copy())
    assert total.tolist() == [
        [(a + b) % q for a, b in zip(row, row[::-1], strict=True)] for row, q in zip(rows, moduli, strict=True)
    ]


@settings(deadline=None)
@given(bodies(), st.integers(0, 7), st.integers(0, 2**62))
def test_adding_a_packed_body_is_modular_and_taking_it_out_undoes_it(
    body: tuple[list[int], list[list[int]]], offset: int, more: int
) -> None:
    moduli, rows = body
    streams = Streams(tuple(moduli), len(rows[0]))
    packed = memoryview(b"x" * offset + bit_string(rows, moduli) + b"x")[offset:-1]
    larger = tuple(min(2**63, q + more) for q in moduli)
    before = [[(7 * value + more) % q for value in row] for row, q in zip(rows, larger, strict=True)]
    total = np.array(before, np.uint64)
    streams.add_packed(total, packed, larger, what="It")
    assert total.tolist() == [
        [(a + b) % q for a, b in zip(one, other, strict=True)]
        for one, other, q in zip(before, rows, larger, strict=True)
    ]
    streams.take_packed(total, packed, larger, what="It")
    assert total.tolist() == before


@settings(deadline=None)
@given(st.data(), st.integers(1, 70), st.lists(st.integers(2, 2**63), min_size=1, max_size=3))
def test_a_body_with_numbers_that_are_too_large_changes_no_sum(
    data: st.DataObject, count: int, moduli: list[int]
) -> None:
    """Whichever numbers they are, in whichever stream, and however many."""
    moduli = [q for q in moduli if q & (q - 1)] or [97]
    widths = [(q - 1).bit_length() for q in moduli]
    rows = [data.draw(st.lists(st.integers(0, 2**w - 1), min_size=count, max_size=count)) for w in widths]
    stream, place = data.draw(st.integers(0, len(moduli) - 1)), data.draw(st.integers(0, count - 1))
    rows[stream][place] = data.draw(st.integers(moduli[stream], 2 ** widths[stream] - 1))
    streams = Streams(tuple(moduli), count)
    before = [[value * 5 % q for value in row] for row, q in zip(rows, moduli, strict=True)]
    total = np.array(before, np.uint64)
    first = next(i for i, row in enumerate(rows) if max(row) >= moduli[i])
    bad = sum(value >= moduli[first] for value in rows[first])
    for change in (streams.add_packed, streams.take_packed):
        with pytest.raises(errors.ResidueError, match=f"It holds {bad} numbers that are not below .* {moduli[first]}"):
            change(total, bit_string(rows, moduli), tuple(moduli), what="It")
        assert total.tolist() == before


def test_unpacking_reads_bytes_at_any_address() -> None:
    streams = Streams((97,), 11)
    packed = streams.pack(np.arange(11, dtype=np.uint64)[None, :])
    for offset in range(1, 8):
        again = streams.zeros()
        streams.unpack(memoryview(b"x" * offset + packed)[offset:], again, what="It")
        assert again[0].tolist() == list(range(11))


@pytest.mark.parametrize("vector", VECTORS["good"])
def test_good_vectors_pack_and_unpack(vector: dict[str, Any]) -> None:
    streams = Streams(tuple(vector["moduli"]), vector["count"])
    residues = np.array(vector["residues"], np.uint64)
    assert streams.pack(residues).hex() == vector["body"]
    again = streams.zeros()
    streams.unpack(bytes.fromhex(vector["body"]), again, what="It")
    assert (again == residues).all()


@pytest.mark.parametrize("vector", VECTORS["bad"], ids=lambda v: v["why"])
def test_bad_vectors_are_refused_by_name(vector: dict[str, Any]) -> None:
    streams = Streams(tuple(vector["moduli"]), vector["count"])
    with pytest.raises(errors.ProtocolError, match="It holds|It has") as refusal:
        streams.unpack(bytes.fromhex(vector["body"]), streams.zeros(), what="It")
    assert type(refusal.value).__name__ == vector["error"]
