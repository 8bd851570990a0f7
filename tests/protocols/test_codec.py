import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import ProtocolError, SumSpec, client, decryptor, server
from protocols.codec import HEADER_BYTES, Frame, Kind, Session, read_frame, read_sum, write_sum

FOLDER = Path(__file__).parent / "vectors"
FRAMES = json.loads((FOLDER / "frames.json").read_text())
SUMS = json.loads((FOLDER / "sums.json").read_text())
_S = FRAMES["session"]
SESSION = Session(_S["protocol"], *(bytes.fromhex(_S[name]) for name in ("parameters", "key_id", "run_tag")))


@pytest.mark.parametrize("vector", FRAMES["good"])
def test_good_frames_are_written_and_read_to_the_byte(vector: dict[str, Any]) -> None:
    body = bytes.fromhex(vector["body"])
    numbers = {"round_number": vector["round_number"], "client_id": vector["client_id"]}
    data = SESSION.frame(Kind(vector["kind"]), body, **numbers)
    assert data.hex() == vector["frame"]
    frame = SESSION.read(data, Kind(vector["kind"]), round_number=vector["round_number"])
    assert bytes(frame.body) == body
    assert {"round_number": frame.round_number, "client_id": frame.client_id} == numbers


@pytest.mark.parametrize("vector", FRAMES["bad"], ids=lambda v: v["why"])
def test_bad_frames_are_refused_by_name(vector: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError) as refusal:
        SESSION.read(bytes.fromhex(vector["frame"]), Kind.UPLOAD, round_number=3)
    assert type(refusal.value).__name__ == vector["error"]


def _sum_frame(body: bytes) -> Frame:
    return read_frame(SESSION.frame(Kind.PARTIAL, body, round_number=3), Kind.PARTIAL)


@pytest.mark.parametrize("vector", SUMS["good"])
def test_good_sums_are_written_and_read_to_the_byte(vector: dict[str, Any]) -> None:
    body = bytes.fromhex(vector["body"])
    ids, residues = read_sum(_sum_frame(body), max_clients=SUMS["max_clients"], residue_bytes=SUMS["residue_bytes"])
    assert sorted(ids) == vector["contributors"]
    assert write_sum(ids, bytes(residues)) == body


@pytest.mark.parametrize("vector", SUMS["bad"], ids=lambda v: v["why"])
def test_bad_sums_are_refused_by_name(vector: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="round 3") as refusal:
        read_sum(
            _sum_frame(bytes.fromhex(vector["body"])),
            max_clients=SUMS["max_clients"],
            residue_bytes=SUMS["residue_bytes"],
        )
    assert type(refusal.value).__name__ == vector["error"]


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_and_nothing_else_is_raised(data: bytes) -> None:
    for read in (client, lambda b: server(b, round_number=0), lambda b: SESSION.read(b, Kind.UPLOAD)):
        with pytest.raises(ProtocolError):
            read(data)


def test_every_flipped_bit_of_a_bundle_is_refused() -> None:
    bundle = decryptor("plain", SumSpec(3, 2, 1, 5), run_id=b"run").bundle()
    for bit in range(8 * len(bundle)):
        flipped = bytearray(bundle)
        flipped[bit // 8] ^= 1 << bit % 8
        for read in (client, lambda b: server(b, round_number=0)):
            with pytest.raises(ProtocolError):
                read(bytes(flipped))
    assert len(bundle) > HEADER_BYTES
