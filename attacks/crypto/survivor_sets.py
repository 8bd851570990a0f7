"""Two sets of survivors of one round: two sums that differ by one client would show that client's vector."""

from attacks.crypto.attempts import Outcome, crypto_attack
from attacks.crypto.lying_pairwise import lying_round
from attacks.crypto.parties import Parties
from protocols import Address
from protocols.codec import Kind, read_frame

_TARGET, _OTHER = 0, 1


@crypto_attack(
    name="two survivor sets",
    adversary="a server that lies; it has all uploads",
    source="Pasquini, Francati, Ateniese, CCS 2022; Bonawitz et al., CCS 2017, section 6",
    summary="the sum is asked for twice in a round, once without one client",
    protocols=("pairwise", "ckks", "ckks-committee"),
)
def two_sets(parties: Parties) -> Outcome:
    attempt = {"pairwise": _halves, "ckks": _second_request, "ckks-committee": _split_members}
    return attempt[parties.protocol](parties)


def _second_request(parties: Parties) -> Outcome:
    opened = parties.open()
    parties.step(opened)
    decryptor = Address("decryptor", 0)
    request = opened.outbox()[decryptor]
    parties.deliver(decryptor, request)
    everybody = opened.manifest().to_bytes()
    material = bytes(read_frame(request).body)[len(everybody) :]
    fewer = opened.manifest(set(parties.clients) - {_TARGET}).to_bytes()
    if parties.deliver(decryptor, parties.said(opened, Kind.REQUEST, decryptor, fewer + material)) is None:
        return False, parties.refusals[decryptor]
    return True, "The decryptor opened two sets of one round."


def _split_members(parties: Parties) -> Outcome:
    """Each member is asked for both sets, every other one for the smaller set first."""
    opened = parties.open()
    parties.step(opened)
    while Kind.REQUEST not in {read_frame(message).header.kind for message in opened.outbox().values()}:
        parties.step(opened)
    sets = [set(parties.clients), set(parties.clients) - {_TARGET}]
    given = [0, 0]
    for member in parties.run.decryptors:
        to = Address("decryptor", member)
        for which in (member % 2, 1 - member % 2):
            body = opened.manifest(sets[which]).to_bytes()
            if parties.deliver(to, parties.said(opened, Kind.REQUEST, to, body)) is not None:
                given[which] += 1
    threshold = opened.session.roster.threshold
    if min(given) >= threshold:
        return True, f"{given[0]} and {given[1]} members answered, and {threshold} suffice: both sets open."
    return False, (
        f"{given[0]} and {given[1]} members answered for the two sets, and it takes {threshold}. "
        + parties.words("decryptor")
    )


def _halves(parties: Parties) -> Outcome:
    """One half is told that one client is gone, the other half that another one is."""
    everybody = frozenset(parties.clients)
    sets = everybody - {_TARGET}, everybody - {_OTHER}
    told = {client: sets[client % 2] for client in everybody} | {_TARGET: sets[1], _OTHER: sets[0]}
    return _told(parties, told, "Clients of both halves gave shares: two sets of one round open.")


@crypto_attack(
    name="both shares of one client",
    adversary="a server that lies; it has all masked uploads",
    source="Bonawitz et al., CCS 2017, section 6; Bell et al., CCS 2020",
    summary="half of the clients are told that one is gone, so that they unmask its pairs, the rest that it survived",
    protocols=("pairwise",),
)
def both_shares(parties: Parties) -> Outcome:
    everybody = frozenset(parties.clients)
    told = {client: everybody - {_TARGET} if client % 2 else everybody for client in everybody}
    return _told(parties, told, "Shares of both kinds were given: the client's vector is bare.")


def _told(parties: Parties, told: dict[int, frozenset[int]], sentence: str) -> Outcome:
    opened = lying_round(parties.run)
    parties.until_uploads(opened)
    parties.step(opened)
    opened.tell(told)
    parties.step(opened)
    unmasking = [to.number for to, message in opened.outbox().items() if parties.deliver(to, message) is not None]
    if len({told[client] for client in unmasking}) == 2:
        return True, sentence
    return False, parties.words("client")
