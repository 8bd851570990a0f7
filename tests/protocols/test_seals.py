"""How uploads prove where they come from: by a seal, and where decryptors are shown them, a signature as well."""

import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

import protocols
from protocols import Address, EnrolmentKey, Identity, Roster, ServerRound, Setup, SumSpec, errors
from protocols.codec import FRAME_BYTES, HEADER_BYTES, SEALED, Frame, Kind, read_frame
from protocols.identity import PublicIdentity
from protocols.seals import NONCE_BYTES, SEAL_BYTES, SealKey, fingerprint, seal_key

CLIENT, SERVER = Address("client", 2), Address("server", 0)


def key_between(world: Any, one: Identity, other: Identity, **changed: Any) -> SealKey:
    """The key from `one` to `other` in this run; changed: what it is bound to instead."""
    bound = {"setup": world.server.session.setup.digest, "sender": one.address, "recipient": other.address}
    return seal_key(one, other.public, **{**bound, **changed})


def sealed_anew(world: Any, upload: bytes, **parts: bytes) -> bytes:
    """Client 2's upload with other parts, and a good seal over them: what a client that lies can send."""
    frame = read_frame(upload)
    key = key_between(world, world.identity("client", 2), world.identity("server"))
    pieces = {"header": upload[:HEADER_BYTES], "body": bytes(frame.body), "digest": frame.stated_digest}
    data = b"".join((pieces | {"signature": frame.signature} | parts).values())
    return data + key.seal(data, os.urandom(NONCE_BYTES))


def refuses(opened: ServerRound, data: bytes) -> None:
    with pytest.raises(errors.SignatureError, match="upload of client 2 .* changed or forged[.]$"):
        opened.receive(data)
    assert not opened.uploaded


def goes_on(world: Any, opened: ServerRound, *clients: int) -> None:
    """The round opens the exact sum of these clients, as if nothing had been sent."""
    for client in clients:
        opened.receive(world.upload(opened, client))
    assert (world.finish(opened) == world.sum(*opened.result.survivors)).all()


# Who can make a seal.


@pytest.mark.parametrize(
    "changed",
    [
        {"setup": bytes(32)},
        {"sender": SERVER, "recipient": CLIENT},
        {"sender": Address("client", 3)},
        {"sender": Address("decryptor", 2)},
        {"recipient": Address("server", 1)},
    ],
    ids=["another setup", "reflected", "another sender", "another role", "another recipient"],
)
def test_a_seal_of_the_right_parties_bound_to_something_else(world: Any, changed: dict[str, Any]) -> None:
    opened = world.open()
    before = read_frame(world.upload(opened, 2)).before_seal
    key = key_between(world, world.identity("client", 2), world.identity("server"), **changed)
    refuses(opened, bytes(before) + key.seal(bytes(before), bytes(NONCE_BYTES)))
    goes_on(world, opened, 2, 3)


def test_a_seal_made_by_another_client_or_a_stranger(world: Any) -> None:
    opened = world.open()
    before = read_frame(world.upload(opened, 2)).before_seal
    for liar in (world.identity("client", 3), Identity.generate("client", 2)):
        for bound in ({}, {"sender": CLIENT}):
            key = key_between(world, liar, world.identity("server"), **bound)
            refuses(opened, bytes(before) + key.seal(bytes(before), bytes(NONCE_BYTES)))
    goes_on(world, opened, 2, 3)


def test_the_seal_of_another_message(world: Any) -> None:
    opened, other = world.open(), world.open()
    seal = read_frame(world.upload(other, 2)).seal
    refuses(opened, bytes(read_frame(world.upload(opened, 2)).before_seal) + seal)
    goes_on(world, opened, 2, 3)


def test_two_seals_of_one_message_share_nothing(world: Any) -> None:
    opened = world.open()
    seals = {read_frame(world.upload(opened, 2)).seal[:NONCE_BYTES] for _ in range(20)}
    assert len(seals) == 20


def test_a_client_whose_box_key_agrees_on_nothing_is_refused_by_name_and_the_round_goes_on() -> None:
    server, strong, other = (Identity.generate(*who) for who in (("server", 0), ("client", 1), ("client", 2)))
    enrolment = EnrolmentKey.generate()
    weak = PublicIdentity("client", 3, Identity.generate("client", 3).public.signing, bytes(32))
    roster = Roster(server.public, (strong.public, other.public, weak)).sign(enrolment)
    setup = Setup("plain", SumSpec(3, 3, 2, 5), b"run", roster).signed(enrolment).to_bytes()
    opened = protocols.server(setup, server, enrolment.public).open_round(1, context=bytes(32), min_survivors=2)
    for identity in (strong, other):
        part = protocols.client(setup, identity, enrolment.public, min_survivors=2).join(opened.broadcast.data)
        part.provide(np.full(3, identity.address.number))
        upload = part.answer(opened.broadcast.data)
        if identity is other:
            header = replace(read_frame(upload).header, sender=weak.address)
            with pytest.raises(errors.IdentityError, match="box key of client 3 is weak"):
                opened.receive(header.pack() + upload[HEADER_BYTES:])
        opened.receive(upload)
    opened.close_phase()
    assert opened.result.values.tolist() == [3, 3, 3]


# Each part of an upload.


def parts_of(upload: bytes) -> dict[str, range]:
    """Where in an upload each part lies."""
    frame: Frame = read_frame(upload)
    at, found = 0, {}
    sizes = {
        "header": HEADER_BYTES,
        "body": len(frame.body),
        "digest": len(frame.stated_digest),
        "signature": len(frame.signature),
        "nonce": NONCE_BYTES if frame.seal else 0,
        "tag": 16 if frame.seal else 0,
    }
    for name, size in sizes.items():
        found[name] = range(at, at + size)
        at += size
    assert at == len(upload)
    return found


@pytest.mark.parametrize("part", ["body", "digest", "signature", "nonce", "tag"])
def test_a_flipped_bit_in_any_part(world: Any, part: str) -> None:
    opened = world.open()
    upload = world.upload(opened, 2)
    places = parts_of(upload)[part]
    assert len(places) or world.run.protocol == "plain"
    for at in places[:: 1 + len(places) // 100]:
        changed = bytearray(upload)
        changed[at] ^= 1 << at % 8
        refuses(opened, bytes(changed))
    goes_on(world, opened, 2, 3)


@pytest.mark.parametrize("part", ["digest", "signature", "nonce", "tag"])
def test_a_part_left_out_or_put_twice(world: Any, part: str) -> None:
    opened = world.open()
    upload = world.upload(opened, 2)
    places = parts_of(upload)[part]
    if places:
        with pytest.raises(errors.TruncatedError, match="upload of client 2 .* ends"):
            opened.receive(upload[: places.start] + upload[places.stop :])
        with pytest.raises(errors.LeftoverError, match="upload of client 2 .* is followed"):
            opened.receive(upload[: places.stop] + upload[places.start :])
    goes_on(world, opened, 2, 3)


# A sealed upload is not yet a signed one, nor the other way round.


def test_a_client_that_seals_its_upload_and_does_not_sign_it(ckks: Any) -> None:
    opened = ckks.open()
    upload = ckks.upload(opened, 2)
    refuses(opened, sealed_anew(ckks, upload, signature=bytes(64)))
    goes_on(ckks, opened, 2, 3)


def test_a_client_that_signs_for_another_broadcast(ckks: Any) -> None:
    # The server would hand the signature on, and the decryptor would refuse the whole round.
    opened = ckks.open()
    other = read_frame(ckks.upload(ckks.second_broadcast(opened), 2))
    upload = ckks.upload(opened, 2)
    refuses(opened, sealed_anew(ckks, upload, digest=other.stated_digest, signature=other.signature))
    goes_on(ckks, opened, 2, 3)


def test_a_signed_upload_that_nobody_sealed(ckks: Any) -> None:
    opened = ckks.open()
    refuses(opened, ckks.upload(opened, 2)[:-SEAL_BYTES] + bytes(SEAL_BYTES))
    goes_on(ckks, opened, 2, 3)


def stating(world: Any, opened: ServerRound, digest: bytes) -> bytes:
    """Client 2's upload with a digest of its choice, signed and sealed."""
    upload = world.upload(opened, 2)
    signature = world.identity("client", 2).sign("frame", upload[:HEADER_BYTES], digest)
    return sealed_anew(world, upload, digest=digest, signature=signature)


def test_a_client_that_misstates_its_digest_spoils_its_own_entry_and_nothing_else(ckks: Any) -> None:
    opened = ckks.open()
    opened.receive(stating(ckks, opened, b"\1" * 32))
    honest = read_frame(ckks.upload(opened, 3))
    opened.receive(ckks.upload(opened, 3))
    assert opened.uploads[2].body_digest == b"\1" * 32
    assert len(opened.uploads[3].body_digest) == len(honest.body_digest)
    goes_on(ckks, opened, 4)
    assert opened.result.survivors == {2, 3, 4}


def test_a_client_that_states_the_digest_of_anothers_upload(ckks: Any) -> None:
    # Two equal digests in a manifest would have the decryptor refuse the round.
    opened = ckks.open()
    opened.receive(ckks.upload(opened, 3))
    with pytest.raises(errors.DuplicateError, match="client 2 .* a copy of another"):
        opened.receive(stating(ckks, opened, opened.uploads[3].body_digest))
    goes_on(ckks, opened, 2, 4)
    assert opened.result.survivors == {2, 3, 4}


def test_a_copy_under_another_digest(ckks: Any) -> None:
    opened = ckks.open()
    victim = ckks.upload(opened, 3)
    opened.receive(victim)
    upload, digest = ckks.upload(opened, 2), b"\1" * 32
    signature = ckks.identity("client", 2).sign("frame", upload[:HEADER_BYTES], digest)
    body = bytes(read_frame(victim).body)
    with pytest.raises(errors.DuplicateError, match="client 2 .* a copy of another"):
        opened.receive(sealed_anew(ckks, upload, body=body, digest=digest, signature=signature))
    goes_on(ckks, opened, 4)
    assert opened.result.survivors == {3, 4}


# The kind says which, and nobody else does.


def test_every_kind_has_one_trailer() -> None:
    signed = {Kind.BROADCAST, Kind.REQUEST, Kind.OPENING, Kind.BOXES, Kind.COMPLAINTS}
    assert signed | SEALED | {Kind.UPLOAD} == set(Kind) and not signed & SEALED
    assert {FRAME_BYTES[kind] - HEADER_BYTES for kind in signed} == {64}
    assert {FRAME_BYTES[kind] - HEADER_BYTES for kind in SEALED} == {SEAL_BYTES} == {28}
    assert FRAME_BYTES[Kind.UPLOAD] - HEADER_BYTES == 32 + 64 + 28


def test_a_broadcast_with_a_seal_instead_of_a_signature(world: Any) -> None:
    data = world.open().broadcast.data
    key = key_between(world, world.identity("server"), world.identity("client", 2))
    seal = key.seal(data[:-64], bytes(NONCE_BYTES))
    for instead, error in ((seal, errors.TruncatedError), (seal + bytes(36), errors.SignatureError)):
        with pytest.raises(error, match="broadcast of the server"):
            world.client(2).join(data[:-64] + instead)


def test_a_request_with_a_seal_instead_of_a_signature(ckks: Any) -> None:
    opened = ckks.open()
    for client in (1, 2):
        opened.receive(ckks.upload(opened, client))
    opened.close_phase()
    ((_, data),) = opened.outbox().items()
    key = key_between(ckks, ckks.identity("server"), ckks.identity("decryptor"))
    seal = key.seal(data[:-64], bytes(NONCE_BYTES))
    for instead, error in ((seal, errors.TruncatedError), (seal + bytes(36), errors.SignatureError)):
        with pytest.raises(error, match="request of the server"):
            ckks.decryptor().answer(data[:-64] + instead)
    ckks.finish(opened)


def test_an_opening_with_a_seal_instead_of_a_signature(ckks: Any) -> None:
    opened = ckks.open()
    for client in (1, 2):
        opened.receive(ckks.upload(opened, client))
    opened.close_phase()
    ((_, request),) = opened.outbox().items()
    data = ckks.decryptor().answer(request)
    key = key_between(ckks, ckks.identity("decryptor"), ckks.identity("server"))
    seal = key.seal(data[:-64], bytes(NONCE_BYTES))
    for instead, error in ((seal, errors.TruncatedError), (seal + bytes(36), errors.SignatureError)):
        with pytest.raises(error, match="opening of decryptor 0"):
            opened.receive(data[:-64] + instead)
    opened.receive(data)
    opened.close_phase()


def test_a_frame_that_bears_a_seal_is_not_written_without_a_key(world: Any) -> None:
    header = read_frame(world.upload(world.open(), 2)).header
    with pytest.raises(ValueError, match="there is no key"):
        header.write(world.identity("client", 2), bytes(header.body_bytes))


# The construction.


@given(st.binary(max_size=200), st.binary(min_size=32, max_size=32), st.binary(min_size=12, max_size=12))
def test_seals_are_gcm_tags_under_a_key_of_rfc_5869(data: bytes, setup: bytes, nonce: bytes) -> None:
    one, other = Identity.generate("client", 7), Identity.generate("server", 0)
    key = seal_key(one, other.public, setup=setup, sender=one.address, recipient=other.address)
    info = b"securerec protocols 2\0frame seal\0"
    for role, number in ((2, 7), (1, 0)):
        info += (9).to_bytes(8, "little") + bytes([role]) + number.to_bytes(8, "little")
    derived = HKDF(SHA256(), 32, setup, info).derive(other.shared_key(one.public))
    seal = key.seal(data, nonce)
    assert seal[:12] == nonce and AESGCM(derived).decrypt(nonce, seal[12:], data) == b""
    same = seal_key(other, one.public, setup=setup, sender=one.address, recipient=other.address)
    same.check(memoryview(data), seal)
    back = seal_key(other, one.public, setup=setup, sender=other.address, recipient=one.address)
    with pytest.raises(errors.SignatureError):
        back.check(memoryview(data), seal)
    with pytest.raises(InvalidTag):
        AESGCM(derived).decrypt(nonce, seal[12:], data + b"\0")


def test_a_key_does_not_show_itself() -> None:
    assert repr(SealKey(b"secret" * 6)) == "SealKey()"


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_fingerprints_are_equal_for_equal_data_and_differ_for_others(one: bytes, other: bytes) -> None:
    key = os.urandom(32)
    same = fingerprint(key, memoryview(one)) == fingerprint(key, memoryview(other))
    assert same == (one == other)
    assert fingerprint(key, memoryview(one)) == fingerprint(key, memoryview(bytes(one)))
