"""A server that has everybody's uploads and wants one client's vector, or what two clients handed in under swapped
names."""

from dataclasses import replace

import numpy as np

from attacks.crypto.attempts import Outcome, crypto_attack
from attacks.crypto.lying_pairwise import lying_round
from attacks.crypto.parties import Parties
from protocols import Address, ServerRound
from protocols.ckks.parameters import choose
from protocols.ckks.wire import sum_streams
from protocols.codec import Kind, read_frame
from protocols.committee.wire import Batch, complaint_bytes, entries, parameters_of, read_complaints
from protocols.identity import SIGNATURE_BYTES
from protocols.plain import upload_streams

_TARGET = 0


@crypto_attack(
    name="one client's vector",
    adversary="a server that lies; it has all uploads",
    source="what a secure sum is there to prevent; for `ckks` see protocols/ckks/decryptor.py",
    summary="the server asks whoever can open something to open a single client's upload",
    foreseen=("plain", "ckks"),
)
def single_vector(parties: Parties) -> Outcome:
    attempt = {"plain": _read_plainly, "pairwise": _lone_survivor, "ckks": _other_sum, "ckks-committee": _sole_entry}
    return attempt[parties.protocol](parties)


def _read_plainly(parties: Parties) -> Outcome:
    opened = parties.open()
    answer = parties.deliver(Address("client", _TARGET), opened.broadcast.data)
    assert answer is not None
    layout = upload_streams(parties.spec)
    read = layout.zeros()
    layout.unpack(read_frame(answer).body, read, what="It")
    values = read[0].view(np.int64) - parties.spec.upload_bound
    return _compared(parties, values, "The server reads each upload: nothing is encrypted.")


def _lone_survivor(parties: Parties) -> Outcome:
    """All but the target are told, as it is itself, that they are gone, and should help to take its masks off."""
    opened = lying_round(parties.run)
    parties.until_uploads(opened)
    parties.step(opened)
    opened.tell(dict.fromkeys(parties.clients, frozenset({_TARGET})))
    confirming = [to for to, message in opened.outbox().items() if parties.deliver(to, message) is not None]
    if confirming:
        return True, f"{len(confirming)} clients confirmed that client {_TARGET} alone survived."
    return False, parties.words("client")


def _other_sum(parties: Parties) -> Outcome:
    """The manifest names all, as it must; the sum to be opened is one client's upload. The decryptor cannot tell."""
    bodies: dict[int, bytes] = {}

    def keep(to: Address, answer: bytes) -> bytes:
        bodies[to.number] = bytes(read_frame(answer).body)
        return answer

    opened = parties.open()
    parties.step(opened, answered=keep)
    decryptor = Address("decryptor", 0)
    request = parties.said(opened, Kind.REQUEST, decryptor, opened.manifest().to_bytes() + bodies[_TARGET])
    answer = parties.deliver(decryptor, request)
    if answer is None:
        return False, parties.refusals[decryptor]
    layout = sum_streams(parties.spec)
    shifted = layout.zeros()
    layout.unpack(read_frame(answer).body[SIGNATURE_BYTES:], shifted, what="It")
    values = shifted[0].view(np.int64) - parties.spec.sum_bound
    return _compared(
        parties,
        values,
        "The decryptor opens one client's upload that it is told is the sum: it cannot see the uploads.",
    )


def _sole_entry(parties: Parties) -> Outcome:
    """Members were shown everybody's boxes; then they are asked for the sum of one client's shares."""
    opened = parties.open()
    parties.step(opened)
    while Kind.REQUEST not in {read_frame(message).header.kind for message in opened.outbox().values()}:
        parties.step(opened)
    alone = opened.manifest([_TARGET]).to_bytes()
    for member in parties.run.decryptors:
        to = Address("decryptor", member)
        if parties.deliver(to, parties.said(opened, Kind.REQUEST, to, alone)) is not None:
            return True, f"Decryptor {member} gave its share of one client's key."
    return False, parties.words("decryptor")


def _compared(parties: Parties, values: np.ndarray, sentence: str) -> Outcome:
    if np.array_equal(values, parties.values[_TARGET]):
        return True, sentence
    return False, "What was opened is not the client's vector."


@crypto_attack(
    name="uploads under swapped names",
    adversary="a server that lies",
    source="the attack that manifests and boxes bound to their clients are there for",
    summary="whoever opens is shown two clients' uploads, each under the other's name",
    protocols=("ckks", "ckks-committee"),
)
def swapped_names(parties: Parties) -> Outcome:
    opened = parties.open()
    parties.step(opened)
    decryptor = Address("decryptor", 0)
    if parties.protocol == "ckks":
        manifest = opened.manifest()
        uploads = dict(manifest.uploads)
        uploads[0], uploads[1] = uploads[1], uploads[0]
        material = bytes(read_frame(opened.outbox()[decryptor]).body)[-choose(parties.spec).streams.n_bytes :]
        body = replace(manifest, uploads=uploads).to_bytes() + material
        if parties.deliver(decryptor, parties.said(opened, Kind.REQUEST, decryptor, body)) is None:
            return False, parties.refusals[decryptor]
        return True, "The decryptor opened the sum."
    clients, salts, boxes = read_boxes(parties, opened)
    boxes[0], boxes[1], salts[0], salts[1] = boxes[1], boxes[0], salts[1], salts[0]
    return judged(parties, opened, clients, salts, boxes, "were closed by another client")


Boxes = tuple[list[int], list[bytes], list[bytes]]


def read_boxes(parties: Parties, opened: ServerRound) -> Boxes:
    """The ids, salts and boxes that the first member is to be shown in a committee's round, all in one batch."""
    parameters = parameters_of(opened.session)
    frame = read_frame(opened.outbox()[Address("decryptor", 0)])
    _, material = Batch.read(frame.body, what="It")
    found = list(entries(material, box_bytes=parameters.box_bytes(0), what="It"))
    return [client for client, _, _ in found], [salt for _, salt, _ in found], [bytes(box) for _, _, box in found]


def judged(
    parties: Parties, opened: ServerRound, clients: list[int], salts: list[bytes], boxes: list[bytes], why: str
) -> Outcome:
    """What the first member says to boxes of the server's arrangement. It succeeds where they are all good."""
    decryptor = Address("decryptor", 0)
    batch = Batch(opened.broadcast.data, opened.secret, len(clients), 0)
    body = batch.write(list(zip(clients, salts, boxes, strict=True)))
    answer = parties.deliver(decryptor, parties.said(opened, Kind.BOXES, decryptor, body))
    if answer is None:
        return False, parties.refusals[decryptor]
    bits = read_frame(answer).body[SIGNATURE_BYTES : SIGNATURE_BYTES + complaint_bytes(len(clients))]
    bad = sorted(read_complaints(bits, clients, what="It"))
    if not bad:
        return True, "Decryptor 0 finds all boxes good."
    named = ", ".join(map(str, bad))
    return False, f"Decryptor 0 has no good box from clients {named}, which are left out: their boxes {why}."
