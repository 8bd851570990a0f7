"""Uploads that are swapped, replayed, copied or foreign, and rounds that a server opens twice or for one client."""

from dataclasses import replace

from attacks.crypto.attempts import Outcome, crypto_attack
from attacks.crypto.parties import OTHER_TABLE, TABLE, Parties
from protocols import Address, ServerRound
from protocols.broadcast import BROADCAST_BYTES
from protocols.codec import HEADER_BYTES, Header, Kind, read_frame

_SERVER = Address("server", 0)
_NETWORK = "whoever stands between clients and server; holds no keys"


def _relabelled(message: bytes, header: Header) -> bytes:
    """The same bytes under another header."""
    return header.pack() + message[HEADER_BYTES:]


def _uploads(parties: Parties, number: int) -> tuple[ServerRound, dict[int, bytes]]:
    """A round whose uploads are made and not yet received."""
    opened = parties.open(number)
    parties.until_uploads(opened)
    made: dict[int, bytes] = {}
    for to, message in opened.outbox().items():
        answer = parties.deliver(to, message)
        if answer is not None:
            made[to.number] = answer
    return opened, made


def _offered(parties: Parties, opened: ServerRound, message: bytes, accepted: str) -> Outcome:
    if parties.receive(opened, message):
        return True, accepted
    return False, parties.refusals[_SERVER]


@crypto_attack(
    name="swapped upload",
    adversary=_NETWORK,
    source="the attack that authenticated uploads are there for",
    summary="one client's upload is handed in under another's name",
)
def swapped(parties: Parties) -> Outcome:
    opened, uploads = _uploads(parties, 1)
    header = replace(read_frame(uploads[0]).header, sender=Address("client", 1))
    return _offered(parties, opened, _relabelled(uploads[0], header), "Client 0's upload counts as client 1's.")


@crypto_attack(
    name="replayed upload",
    adversary=_NETWORK,
    source="the attack that the broadcast's digest in every frame is there for",
    summary="an upload of an earlier round is handed in again, relabelled for the present one",
)
def replayed(parties: Parties) -> Outcome:
    earlier, uploads = _uploads(parties, 1)
    opened, _ = _uploads(parties, 2)
    number, digest = opened.broadcast.round_number, opened.broadcast.digest
    header = replace(read_frame(uploads[0]).header, round_number=number, broadcast=digest)
    return _offered(parties, opened, _relabelled(uploads[0], header), "An upload of round 1 counts in round 2.")


@crypto_attack(
    name="copied upload",
    adversary="an enrolled client that saw another's upload on the network",
    source="input copying, as in Cortier, Smyth, Attacking and fixing Helios, CSF 2011",
    summary="a client hands in another's ciphertext as its own, so that the sum shows more of that one",
    foreseen=("plain",),
)
def copied(parties: Parties) -> Outcome:
    opened, uploads = _uploads(parties, 1)
    frame = read_frame(uploads[0])
    parties.receive(opened, uploads[0])
    copy = parties.joined[1].session.write(
        frame.header.kind, _SERVER, bytes(frame.body), round_number=1, broadcast=opened.broadcast.digest
    )
    return _offered(parties, opened, copy, "Client 0's vector counts twice; equal honest vectors look the same here.")


@crypto_attack(
    name="upload of a foreign roster",
    adversary="a client that another enrolment key enrolled, under the same run and number",
    source="the attack that the signed roster is there for",
    summary="somebody who is not on the roster hands in an upload",
)
def foreign(parties: Parties) -> Outcome:
    opened, _ = _uploads(parties, 1)
    stranger, uploads = _uploads(Parties(parties.protocol, parties.spec), 1)
    header = replace(
        read_frame(uploads[0]).header, setup=opened.session.setup.digest, broadcast=opened.broadcast.digest
    )
    return _offered(parties, opened, _relabelled(uploads[0], header), "A stranger's upload counts.")


@crypto_attack(
    name="one round, two broadcasts",
    adversary="a server that lies",
    source="the attack that a client's record of answered rounds is there for",
    summary="a client is asked twice in a round, so that one of its uploads can be subtracted from the other",
)
def asked_twice(parties: Parties) -> Outcome:
    opened = parties.open()
    second = parties.open_again(opened, table=OTHER_TABLE)
    to = Address("client", 0)
    parties.deliver(to, opened.broadcast.data)
    if parties.deliver(to, second.broadcast.data) is None:
        return False, parties.refusals[to]
    return True, "Client 0 answered two broadcasts of one round."


@crypto_attack(
    name="a cohort of one",
    adversary="a server that lies",
    source="the attack that every client's own floor is there for",
    summary="a broadcast promises a sum over a single client",
)
def cohort_of_one(parties: Parties) -> Outcome:
    opened = parties.open()
    body = bytearray(read_frame(opened.broadcast.data).body)
    # After the table's digest: the promised number of survivors.
    body[len(TABLE) : len(TABLE) + 4] = (1).to_bytes(4, "little")
    lowered = opened.session.write(Kind.BROADCAST, None, bytes(body), round_number=1)
    assert len(lowered) == BROADCAST_BYTES
    if parties.deliver(Address("client", 0), lowered) is None:
        return False, parties.words("client")
    return True, "Client 0 took part in a sum over itself alone."
