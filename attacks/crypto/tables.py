"""Different tables to different clients, each with a broadcast of its own, and one sum over them all."""

from attacks.crypto.attempts import Outcome, crypto_attack
from attacks.crypto.parties import OTHER_TABLE, Parties
from attacks.crypto.single_vectors import judged, read_boxes
from protocols import Address, ServerRound
from protocols.codec import Kind, read_frame


@crypto_attack(
    name="different tables",
    adversary="a server that lies",
    source="Pasquini, Francati, Ateniese, CCS 2022",
    summary="half of the clients get another table under a broadcast of its own; the sum over all shall open",
    foreseen=("plain",),
)
def different_tables(parties: Parties) -> Outcome:
    attempt = {"plain": _one_sum, "pairwise": _neighbours, "ckks": _manifest, "ckks-committee": _boxes}
    return attempt[parties.protocol](parties)


def _two_rounds(parties: Parties) -> tuple[ServerRound, ServerRound]:
    opened = parties.open()
    return opened, parties.open_again(opened, table=OTHER_TABLE)


def _mixed_step(parties: Parties, opened: ServerRound, second: ServerRound) -> None:
    """A phase of `opened` in which odd clients are spoken to as if in `second`; what they answer is used as well."""
    for to, message in opened.outbox().items():
        odd = to.number % 2 == 1
        frame = read_frame(message)
        if odd and frame.header.kind is Kind.BROADCAST:
            message = second.broadcast.data
        elif odd:
            digest = second.broadcast.digest
            message = parties.said(opened, frame.header.kind, to, bytes(frame.body), broadcast=digest)
        answer = parties.deliver(to, message)
        if answer is not None and odd:
            parties.take_in(opened, answer)
        elif answer is not None:
            parties.receive(opened, answer)
    opened.close_phase()


def _one_sum(parties: Parties) -> Outcome:
    opened, second = _two_rounds(parties)
    _mixed_step(parties, opened, second)
    whole = (opened.result.values == parties.sum(parties.clients)).all()
    return bool(whole), "The server adds up uploads whatever tables they answer."


def _manifest(parties: Parties) -> Outcome:
    opened, second = _two_rounds(parties)
    _mixed_step(parties, opened, second)
    decryptor = Address("decryptor", 0)
    if parties.deliver(decryptor, opened.outbox()[decryptor]) is None:
        return False, parties.refusals[decryptor]
    return True, "The decryptor opened a sum over clients that saw different tables."


def _boxes(parties: Parties) -> Outcome:
    opened, second = _two_rounds(parties)
    _mixed_step(parties, opened, second)
    clients, salts, boxes = read_boxes(parties, opened)
    return judged(parties, opened, clients, salts, boxes, "were closed for another broadcast")


def _neighbours(parties: Parties) -> Outcome:
    opened, second = _two_rounds(parties)
    while not opened._phase.uploads:
        _mixed_step(parties, opened, second)
    for to, message in opened.outbox().items():
        if to.number % 2 == 0 and parties.deliver(to, message) is not None:
            return True, f"Client {to.number} masked its vector with neighbours that saw another table."
    return False, parties.words("client")
