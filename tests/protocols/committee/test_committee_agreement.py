"""Members agree on keys with clients when they load the roster, so that no round waits for it."""

from typing import Any

import pytest

from protocols import Roster, Setup, parties
from protocols.identity import Identity, PublicIdentity


def test_a_round_with_new_clients_takes_no_exchange_of_a_member(
    committee: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a single one is left to be made when the boxes come."""
    opened = committee.open()
    committee.collect(opened)
    for member in committee.members.values():
        known = member.session.identity._shared
        assert {party.box for party in member.session.roster.clients} <= known.keys()
        monkeypatch.setattr(member.session.identity, "_box", None)
    result = committee.finish(opened)
    assert (result.values == committee.sum(result.survivors)).all()


@pytest.mark.parametrize("weak", [bytes(32), b"\1" + bytes(31)])
def test_a_client_with_a_weak_key_keeps_no_member_from_starting(committee: Any, weak: bytes) -> None:
    run = committee.run
    old = Setup.from_bytes(run.setup)
    roster = Roster.verify(old.roster, run.enrolment.public)
    first = roster.clients[0]
    clients = (PublicIdentity("client", first.number, first.signing, weak), *roster.clients[1:])
    other = Roster(roster.server, clients, roster.decryptors, roster.threshold, roster.tolerated)
    setup = Setup(old.protocol, old.spec, old.run_id, other.sign(run.enrolment), old.public_keys).signed(run.enrolment)
    identity = committee.members[0].session.identity
    fresh = Identity.from_bytes(identity.to_bytes())
    member = parties.decryptor(setup.to_bytes(), fresh, run.enrolment.public, answered={})
    assert {party.box for party in clients[1:]} == member.session.identity._shared.keys()
