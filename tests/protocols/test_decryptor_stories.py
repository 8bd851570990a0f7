"""What a server that lies asks of the decryptor of `ckks`: one client's vector, two sets of one round, uploads that saw
different tables. And what a decryptor, or somebody in its name, answers.
"""

import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from protocols import Address, Identity, RoundAborted, ServerRound, errors
from protocols.broadcast import BROADCAST_BYTES
from protocols.ckks.decryptor import CkksDecryptor
from protocols.ckks.parameters import choose
from protocols.codec import read_frame
from protocols.manifest import ENTRY_BYTES, Manifest, UploadRecord

COUNT_AT = BROADCAST_BYTES
ENTRIES_AT = BROADCAST_BYTES + 4
DECRYPTOR = Address("decryptor", 0)


@pytest.fixture
def opened(ckks: Any) -> ServerRound:
    """A round of clients 0 to 2, ready to be opened."""
    opened: ServerRound = ckks.open()
    for client in (0, 1, 2):
        opened.receive(ckks.upload(opened, client))
    opened.close_phase()
    return opened


def request(opened: ServerRound) -> bytes:
    return opened.outbox()[DECRYPTOR]


def body_of(opened: ServerRound) -> bytearray:
    return bytearray(read_frame(request(opened)).body)


def ask(ckks: Any, opened: ServerRound, body: bytes | bytearray, **header: Any) -> bytes:
    """A request that the server itself signs."""
    forged: bytes = ckks.forge(request(opened), ckks.identity("server"), bytes(body), **header)
    return forged


def refused(ckks: Any, opened: ServerRound, error: type[errors.ProtocolError], message: str, data: bytes) -> None:
    """The decryptor refuses by name, and the round is not spent by it."""
    with pytest.raises(error, match=message):
        ckks.decryptor().answer(data)
    opened.receive(ckks.decryptor().answer(request(opened)))
    opened.close_phase()
    assert (opened.result.values == ckks.sum(0, 1, 2)).all()


def entries(opened: ServerRound, *clients: int, records: dict[int, UploadRecord] | None = None) -> bytes:
    """The request's body with a manifest of these clients, in this order, whatever that makes of it."""
    known = records or opened.uploads
    body = bytes(body_of(opened))
    listed = b"".join(
        struct.pack("<Q32s64s", client, known[client].body_digest, known[client].signature) for client in clients
    )
    material = body[ENTRIES_AT + 3 * ENTRY_BYTES :]
    return body[:COUNT_AT] + len(clients).to_bytes(4, "little") + listed + material


def test_a_second_survivor_set_for_a_round_it_has_answered(ckks: Any, opened: ServerRound) -> None:
    first = ckks.decryptor().answer(request(opened))
    for body in (entries(opened, 0, 1), body_of(opened)[:-8] + bytes(8)):
        with pytest.raises(errors.SpentRoundError, match="decryptor 0 has answered another for that round"):
            ckks.decryptor().answer(ask(ckks, opened, body))
    assert ckks.decryptor().answer(request(opened)) == first


def test_a_second_set_on_a_second_broadcast_of_the_round(ckks: Any, opened: ServerRound) -> None:
    ckks.decryptor().answer(request(opened))
    second = ckks.second_broadcast(opened)
    for client in (3, 4):
        second.receive(ckks.upload(second, client))
    second.close_phase()
    with pytest.raises(errors.SpentRoundError):
        ckks.decryptor().answer(request(second))


def test_a_second_set_after_the_decryptors_program_started_again(ckks: Any, opened: ServerRound) -> None:
    record: dict[int, bytes] = {}
    original = ckks.decryptor()

    def started_again() -> CkksDecryptor:
        identity, pinned = original.session.identity, ckks.run.enrolment.public
        return CkksDecryptor(ckks.run.setup, identity, pinned, key=original._key, answered=record)

    first = started_again().answer(request(opened))
    assert list(record) == [opened.broadcast.round_number]
    with pytest.raises(errors.SpentRoundError):
        started_again().answer(ask(ckks, opened, entries(opened, 0, 1)))
    assert started_again().answer(request(opened)) == first


def test_a_decryptor_whose_record_cannot_be_written_does_not_answer(
    ckks: Any, opened: ServerRound, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(dict[int, bytes]):
        def __setitem__(self, key: int, value: bytes) -> None:
            raise OSError("no space left")

    opens: list[object] = []
    monkeypatch.setattr(CkksDecryptor, "_open", lambda *a: opens.append(a))
    monkeypatch.setattr(ckks.decryptor(), "_answered", Full())
    with pytest.raises(OSError, match="no space"):
        ckks.decryptor().answer(request(opened))
    assert not opens


def test_the_record_is_written_before_anything_is_decrypted(
    ckks: Any, opened: ServerRound, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: object) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(CkksDecryptor, "_open", killed)
        ckks.decryptor().answer(request(opened))
    with pytest.raises(errors.SpentRoundError):
        ckks.decryptor().answer(ask(ckks, opened, entries(opened, 0, 1)))
    opened.receive(ckks.decryptor().answer(request(opened)))


def test_uploads_of_clients_that_saw_different_tables(ckks: Any, opened: ServerRound) -> None:
    other = ckks.second_broadcast(opened)
    upload = read_frame(ckks.upload(other, 1))
    records = {**opened.uploads, 1: UploadRecord(upload.body_digest, upload.signature)}
    body = entries(opened, 0, 1, 2, records=records)
    message = "names an upload that client 1 did not sign"
    refused(ckks, opened, errors.SignatureError, message, ask(ckks, opened, body))


def test_an_upload_of_an_earlier_round(ckks: Any, opened: ServerRound) -> None:
    upload = read_frame(ckks.upload(ckks.open(), 1))
    records = {**opened.uploads, 1: UploadRecord(upload.body_digest, upload.signature)}
    body = entries(opened, 0, 1, 2, records=records)
    refused(ckks, opened, errors.SignatureError, "client 1 did not sign", ask(ckks, opened, body))


def test_an_upload_that_the_server_made_in_a_clients_name(ckks: Any, opened: ServerRound) -> None:
    forged = read_frame(ckks.forge(ckks.upload(opened, 3), ckks.identity("server")))
    records = {**opened.uploads, 3: UploadRecord(forged.body_digest, forged.signature)}
    body = entries(opened, 0, 1, 3, records=records)
    refused(ckks, opened, errors.SignatureError, "client 3 did not sign", ask(ckks, opened, body))


def test_signatures_swapped_between_clients(ckks: Any, opened: ServerRound) -> None:
    records = {0: opened.uploads[1], 1: opened.uploads[0], 2: opened.uploads[2]}
    body = entries(opened, 0, 1, 2, records=records)
    refused(ckks, opened, errors.SignatureError, "client 0 did not sign", ask(ckks, opened, body))


@pytest.mark.parametrize("clients", [(), (1,)])
def test_a_set_below_the_number_that_the_broadcast_promised(
    ckks: Any, opened: ServerRound, clients: tuple[int, ...]
) -> None:
    data = ask(ckks, opened, entries(opened, *clients))
    refused(ckks, opened, errors.TooFewClientsError, f"names {len(clients)} survivors; its broadcast promised 2", data)


def test_a_broadcast_that_promises_less_than_the_decryptors_own_floor(ckks: Any, opened: ServerRound) -> None:
    original = ckks.decryptor()
    identity, pinned = original.session.identity, ckks.run.enrolment.public
    strict = CkksDecryptor(ckks.run.setup, identity, pinned, key=original._key, answered={}, min_survivors=3)
    with pytest.raises(errors.TooFewClientsError, match="decryptor 0 takes part in sums of at least 3"):
        strict.answer(request(opened))


def test_a_signed_broadcast_that_promises_less_than_the_sum_was_made_for(ckks: Any, opened: ServerRound) -> None:
    low = ckks.forge(opened.broadcast.data, ckks.identity("server"), bytes(32) + b"\1\0\0\0" + bytes(32))
    body = low + bytes(body_of(opened)[BROADCAST_BYTES:])
    refused(ckks, opened, errors.TooFewClientsError, "at least 2", ask(ckks, opened, body))


@pytest.mark.parametrize(
    ("clients", "error", "message"),
    [
        ((0, 1, 1), errors.DuplicateError, "counts client 1 twice"),
        ((1, 0, 2), errors.FrameError, "rising order"),
        ((0, 1, 1, 1, 2, 2), errors.TooManyClientsError, "names 6 survivors; the sum was sized for 5"),
    ],
)
def test_a_manifest_that_counts_a_client_twice_or_too_many(
    ckks: Any, opened: ServerRound, clients: tuple[int, ...], error: type[errors.ProtocolError], message: str
) -> None:
    refused(ckks, opened, error, message, ask(ckks, opened, entries(opened, *clients)))


def test_one_upload_under_two_names(ckks: Any, opened: ServerRound) -> None:
    records = {0: opened.uploads[0], 1: opened.uploads[0]}
    data = ask(ckks, opened, entries(opened, 0, 1, records=records))
    refused(ckks, opened, errors.DuplicateError, "one upload for clients 0 and 1", data)


def test_a_client_that_the_roster_does_not_name(ckks: Any, opened: ServerRound) -> None:
    records = {**opened.uploads, 77: opened.uploads[2]}
    data = ask(ckks, opened, entries(opened, 0, 1, 77, records=records))
    refused(ckks, opened, errors.UnknownSenderError, "the roster names no client 77", data)


def test_a_manifest_that_shows_another_broadcast_than_the_one_it_names(ckks: Any, opened: ServerRound) -> None:
    other = ckks.second_broadcast(opened).broadcast.data
    body = other + bytes(body_of(opened)[BROADCAST_BYTES:])
    refused(ckks, opened, errors.WrongBroadcastError, "shows another broadcast", ask(ckks, opened, body))


def test_a_manifest_with_a_broadcast_of_another_round(ckks: Any, opened: ServerRound) -> None:
    other = ckks.open().broadcast
    body = other.data + bytes(body_of(opened)[BROADCAST_BYTES:])
    data = ask(ckks, opened, body, broadcast=other.digest)
    refused(ckks, opened, errors.WrongRoundError, "broadcast of the server", data)


def test_a_manifest_with_a_broadcast_that_nobody_signed(ckks: Any, opened: ServerRound) -> None:
    body = body_of(opened)
    body[BROADCAST_BYTES - 1] ^= 1
    refused(ckks, opened, errors.SignatureError, "broadcast of the server", ask(ckks, opened, body))


def test_a_request_that_the_server_did_not_sign(ckks: Any, opened: ServerRound) -> None:
    forged = ckks.forge(request(opened), ckks.identity("client", 1))
    refused(ckks, opened, errors.SignatureError, "request of the server", forged)


def test_a_request_in_a_clients_name(ckks: Any, opened: ServerRound) -> None:
    own = ckks.forge(request(opened), ckks.identity("client", 1), sender=Address("client", 1))
    refused(ckks, opened, errors.UnknownSenderError, "expected from a server", own)


def test_a_request_to_another_decryptor(ckks: Any, opened: ServerRound) -> None:
    data = ask(ckks, opened, body_of(opened), recipient=Address("decryptor", 1))
    refused(ckks, opened, errors.WrongRecipientError, "is for decryptor 1", data)


def test_a_broadcast_or_an_upload_instead_of_a_request(ckks: Any, opened: ServerRound) -> None:
    with pytest.raises(errors.PhaseError, match="no place here"):
        ckks.decryptor().answer(opened.broadcast.data)
    refused(ckks, opened, errors.UnknownSenderError, "expected from a server", ckks.upload(opened, 3))


def test_a_request_of_another_run(ckks: Any, opened: ServerRound, make_world: Any) -> None:
    other = make_world("ckks", run_id=b"another")
    stranger = other.open(round_number=opened.broadcast.round_number)
    for client in (0, 1):
        stranger.receive(other.upload(stranger, client))
    stranger.close_phase()
    refused(ckks, opened, errors.WrongRunError, "request of the server", request(stranger))


@pytest.mark.parametrize("length", [0, 10, BROADCAST_BYTES, ENTRIES_AT, ENTRIES_AT + ENTRY_BYTES, -8, 8])
def test_a_signed_request_cut_or_padded(ckks: Any, opened: ServerRound, length: int) -> None:
    body = bytes(body_of(opened))
    wrong = body + bytes(8) if length == 8 else body[:length]
    refused(ckks, opened, errors.WrongLengthError, "request of the server", ask(ckks, opened, wrong))


def test_a_count_of_survivors_that_overruns(ckks: Any, opened: ServerRound) -> None:
    body = body_of(opened)
    body[COUNT_AT : COUNT_AT + 4] = b"\xff" * 4
    refused(ckks, opened, errors.TooManyClientsError, "4294967295 survivors", ask(ckks, opened, body))


def test_residues_out_of_range(ckks: Any, opened: ServerRound) -> None:
    body = body_of(opened)
    body[-64:] = b"\xff" * 64
    refused(ckks, opened, (errors.ResidueError, errors.LeftoverError), "request", ask(ckks, opened, body))  # type: ignore[arg-type]


def test_more_rounds_than_a_key_was_sized_for(ckks: Any, opened: ServerRound, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("protocols.roles.decryptor.ROUNDS_PER_KEY", len(ckks.decryptor()._answered))
        with pytest.raises(errors.SpentRoundError, match="all that one setup serves"):
            ckks.decryptor().answer(request(opened))
    ckks.decryptor().answer(request(opened))


def test_a_sum_that_was_tampered_with_spends_the_round(ckks: Any, opened: ServerRound) -> None:
    # The server adds a residue of its own making: noise beyond what three clients can make gives it away.
    streams = choose(ckks.spec).streams
    residues = streams.zeros()
    body = bytes(body_of(opened))
    material_at = len(body) - streams.n_bytes
    streams.unpack(body[material_at:], residues, what="It")
    residues[0, 3] = (int(residues[0, 3]) + choose(ckks.spec).scale // 2) % streams.moduli[0]
    with pytest.raises(errors.NoiseError, match="Noise too large: The request of the server"):
        ckks.decryptor().answer(ask(ckks, opened, body[:material_at] + streams.pack(residues)))
    with pytest.raises(errors.SpentRoundError):
        ckks.decryptor().answer(request(opened))


def test_a_vector_out_of_range_is_not_opened_and_spends_the_round(ckks: Any) -> None:
    opened = ckks.open()
    liar = ckks.client(0).join(opened.broadcast.data)
    liar.spec = replace(ckks.spec, value_bound=200)
    liar.provide(np.full(40, 200))
    opened.receive(liar.answer(opened.broadcast.data))
    honest = ckks.client(1).join(opened.broadcast.data)
    honest.provide(np.full(40, 100))
    opened.receive(honest.answer(opened.broadcast.data))
    opened.close_phase()
    with pytest.raises(errors.RangeError, match="beyond 200: some upload was out of range"):
        ckks.decryptor().answer(request(opened))
    with pytest.raises(errors.SpentRoundError):
        ckks.decryptor().answer(ask(ckks, opened, entries(opened, 0, 1)[:-8] + bytes(8)))
    with pytest.raises(RoundAborted, match="the decryptor did not open the sum"):
        opened.close_phase()


def test_a_decryptor_refuses_a_setup_whose_key_it_does_not_hold(ckks: Any, make_world: Any) -> None:
    other = make_world("ckks")
    identity, pinned = ckks.decryptor().session.identity, ckks.run.enrolment.public
    with pytest.raises(errors.SetupError, match="not the one that this decryptor holds"):
        CkksDecryptor(ckks.run.setup, identity, pinned, key=other.decryptor()._key, answered={})


# What comes back to the server.


def not_accepted(ckks: Any, opened: ServerRound, error: type[errors.ProtocolError], message: str, data: bytes) -> None:
    with pytest.raises(error, match=message):
        opened.receive(data)
    opened.receive(ckks.decryptor().answer(request(opened)))
    opened.close_phase()
    assert (opened.result.values == ckks.sum(0, 1, 2)).all()
    assert len(opened.result.complaints) == 1


def test_an_opening_in_the_decryptors_name(ckks: Any, opened: ServerRound) -> None:
    forged = ckks.forge(ckks.decryptor().answer(request(opened)), ckks.identity("server"))
    not_accepted(ckks, opened, errors.SignatureError, "opening of decryptor 0", forged)


def test_an_opening_of_a_stranger(ckks: Any, opened: ServerRound) -> None:
    stranger = Identity.generate("decryptor", 9)
    forged = ckks.forge(ckks.decryptor().answer(request(opened)), stranger, sender=stranger.address)
    not_accepted(ckks, opened, errors.UnknownSenderError, "no decryptor 9", forged)


def test_an_opening_of_another_round(ckks: Any, opened: ServerRound) -> None:
    other = ckks.open()
    for client in (0, 1):
        other.receive(ckks.upload(other, client))
    other.close_phase()
    answer = ckks.decryptor().answer(request(other))
    not_accepted(ckks, opened, errors.WrongRoundError, "opening of decryptor 0", answer)


def test_an_opening_of_another_request_of_the_round(ckks: Any, opened: ServerRound) -> None:
    answer = ckks.decryptor().answer(request(opened))
    body = bytes(64) + bytes(read_frame(answer).body)[64:]
    stale = ckks.forge(answer, ckks.identity("decryptor"), body)
    not_accepted(ckks, opened, errors.PhaseError, "answers another request", stale)


def test_an_opening_of_the_wrong_length_or_beyond_what_the_clients_can_reach(ckks: Any, opened: ServerRound) -> None:
    answer = ckks.decryptor().answer(request(opened))
    body = bytes(read_frame(answer).body)
    shorter = ckks.forge(answer, ckks.identity("decryptor"), body[:-8])
    with pytest.raises(errors.WrongLengthError, match="opening of decryptor 0"):
        opened.receive(shorter)
    beyond = ckks.forge(answer, ckks.identity("decryptor"), body[:64] + bytes(len(body) - 64))
    with pytest.raises(errors.RangeError, match="opening of decryptor 0 holds a sum beyond 300"):
        opened.receive(beyond)
    opened.receive(answer)


def test_a_decryptor_that_is_gone_gives_the_round_up(opened: ServerRound) -> None:
    with pytest.raises(RoundAborted, match="the decryptor did not open the sum"):
        opened.close_phase()


def test_a_manifest_says_the_same_after_a_journey(ckks: Any, opened: ServerRound) -> None:
    manifest = opened.manifest()
    again, rest = Manifest.read(
        ckks.decryptor().session,
        memoryview(manifest.to_bytes() + b"rest"),
        what="It",
        round_number=opened.broadcast.round_number,
        broadcast=opened.broadcast.digest,
        floor=2,
    )
    assert again == manifest and bytes(rest) == b"rest" and again.survivors == {0, 1, 2}
