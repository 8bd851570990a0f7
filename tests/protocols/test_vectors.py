"""Bytes that must be made and read to the byte, and bytes that must be refused by name."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from protocols import Address, EnrolmentKey, Identity, ProtocolError, Roster, Setup
from protocols.broadcast import BROADCAST_BYTES, Broadcast
from protocols.codec import Kind
from protocols.identity import Role
from protocols.manifest import Manifest
from protocols.seals import seal_key
from protocols.session import Session

FOLDER = Path(__file__).parent / "vectors"
RUN, FRAMES, ROSTERS, BROADCASTS, MANIFESTS = (
    json.loads((FOLDER / f"{name}.json").read_text())
    for name in ("run", "frames", "rosters", "broadcasts", "manifests")
)
SETUP, PINNED, ROUND = bytes.fromhex(RUN["setup"]), bytes.fromhex(RUN["enrolment_public"]), RUN["round"]
BROADCAST_DIGEST = bytes.fromhex(RUN["broadcast_digest"])


def identity(role: str, number: int) -> Identity:
    (found,) = (p for p in RUN["parties"] if (p["role"], p["number"]) == (role, number))
    return Identity.from_bytes(bytes.fromhex(found["private"]))


def session(role: Role, number: int) -> Session:
    return Session(SETUP, identity(role, number), PINNED, role=role)


def test_the_vectors_are_what_their_program_writes() -> None:
    spec = importlib.util.spec_from_file_location("make_vectors", FOLDER / "make.py")
    assert spec is not None and spec.loader is not None
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    for name, stored in (("run", RUN), ("frames", FRAMES), ("rosters", ROSTERS), ("manifests", MANIFESTS)):
        assert getattr(make, name)() == stored
    assert make.broadcasts() == BROADCASTS


def test_the_setup_is_read_and_written_to_the_byte() -> None:
    setup = Setup.from_bytes(SETUP)
    assert setup.to_bytes() == SETUP
    assert setup.digest.hex() == RUN["setup_digest"] and setup.run_tag.hex() == RUN["run_tag"]
    assert EnrolmentKey(bytes.fromhex(RUN["enrolment_private"])).public == PINNED


@pytest.mark.parametrize("vector", FRAMES["good"])
def test_good_frames_are_written_and_read_to_the_byte(vector: dict[str, Any]) -> None:
    sender, recipient = session(*vector["sender"]), session(*vector["recipient"])
    kind, body = Kind(vector["kind"]), bytes.fromhex(vector["body"])
    header = sender.header(kind, sender.me, recipient.me, len(body), round_number=ROUND, broadcast=BROADCAST_DIGEST)
    key, nonce = None, bytes.fromhex(vector.get("nonce", ""))
    if nonce:
        parties = {"sender": sender.me, "recipient": recipient.me}
        key = seal_key(sender.identity, recipient.identity.public, setup=sender.setup.digest, **parties)
    data = header.write(sender.identity, body, key=key, nonce=nonce)
    assert data.hex() == vector["frame"]
    frame = recipient.read(
        data, kinds=(kind,), sender_role=vector["sender"][0], round_number=ROUND, broadcast=BROADCAST_DIGEST
    )
    recipient.authenticate(frame)
    assert bytes(frame.body) == body and frame.header.sender == tuple(vector["sender"])


@pytest.mark.parametrize("vector", FRAMES["bad"], ids=lambda v: v["why"])
def test_bad_frames_are_refused_by_name(vector: dict[str, Any]) -> None:
    reader = session(*vector["reader"])
    with pytest.raises(ProtocolError, match="[.]$") as refusal:
        frame = reader.read(
            bytes.fromhex(vector["frame"]),
            kinds=(Kind(vector["kind"]),),
            sender_role="client" if vector["reader"][0] == "server" else "server",
            round_number=ROUND,
            broadcast=BROADCAST_DIGEST,
        )
        reader.authenticate(frame)
    assert type(refusal.value).__name__ == vector["error"]


@pytest.mark.parametrize("vector", ROSTERS["good"])
def test_good_rosters_are_read_and_written_to_the_byte(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["roster"])
    roster = Roster.verify(data, PINNED)
    assert (len(roster.clients), len(roster.decryptors)) == (vector["clients"], vector["decryptors"])
    assert (roster.threshold, roster.tolerated) == (vector["threshold"], vector["tolerated"])
    assert roster.sign(EnrolmentKey(bytes.fromhex(RUN["enrolment_private"]))) == data


@pytest.mark.parametrize("vector", ROSTERS["bad"], ids=lambda v: v["why"])
def test_bad_rosters_are_refused_by_name(vector: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="[.]$") as refusal:
        Roster.verify(bytes.fromhex(vector["roster"]), PINNED)
    assert type(refusal.value).__name__ == vector["error"]


@pytest.mark.parametrize("vector", BROADCASTS["good"])
def test_good_broadcasts_are_written_and_read_to_the_byte(vector: dict[str, Any]) -> None:
    context, nonce = bytes.fromhex(vector["context"]), bytes.fromhex(vector["nonce"])
    made = Broadcast.make(
        session("server", 0),
        round_number=vector["round"],
        context=context,
        min_survivors=vector["min_survivors"],
        nonce=nonce,
    )
    assert made.data.hex() == vector["broadcast"] and made.digest.hex() == vector["digest"]
    assert len(made.data) == BROADCAST_BYTES
    assert Broadcast.read(session("client", 7), made.data, floor=2, round_number=ROUND) == made


@pytest.mark.parametrize("vector", BROADCASTS["bad"], ids=lambda v: v["why"])
def test_bad_broadcasts_are_refused_by_name(vector: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="[.]$") as refusal:
        Broadcast.read(session("client", 7), bytes.fromhex(vector["broadcast"]), floor=2, round_number=ROUND)
    assert type(refusal.value).__name__ == vector["error"]


def read_manifest(data: bytes) -> tuple[Manifest, memoryview]:
    reader = session("decryptor", 0)
    manifest, rest = Manifest.read(
        reader, memoryview(data), what="It", round_number=ROUND, broadcast=BROADCAST_DIGEST, floor=2
    )
    manifest.check_signatures(reader, body_bytes=MANIFESTS["upload_bytes"], what="It")
    return manifest, rest


@pytest.mark.parametrize("vector", MANIFESTS["good"])
def test_good_manifests_are_read_and_written_to_the_byte(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["manifest"])
    manifest, rest = read_manifest(data + b"what follows")
    assert bytes(rest) == b"what follows"
    assert sorted(manifest.survivors) == vector["survivors"]
    assert manifest.to_bytes() == data


@pytest.mark.parametrize("vector", MANIFESTS["bad"], ids=lambda v: v["why"])
def test_bad_manifests_are_refused_by_name(vector: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="[.]$") as refusal:
        read_manifest(bytes.fromhex(vector["manifest"]))
    assert type(refusal.value).__name__ == vector["error"]


def test_the_parties_of_the_vectors_are_those_of_their_roster() -> None:
    roster = Setup.from_bytes(SETUP).verify(PINNED)
    assert {Address(p["role"], p["number"]) for p in RUN["parties"]} == set(roster.parties)
