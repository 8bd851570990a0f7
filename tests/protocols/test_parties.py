import pytest

import protocols
from protocols import EnrolmentKey, Identity, Roster, Setup, SumSpec, enrol, errors
from protocols.ckks.parameters import choose

SPEC = SumSpec(300, 20, 2, 100)


def test_roles_are_made_from_the_setup_alone() -> None:
    run = enrol("ckks", SPEC, run_id=b"run", client_ids=(1, 2))
    pinned = run.enrolment.public
    assert type(protocols.server(run.setup, run.server_identity, pinned)) is type(run.server())
    made = protocols.client(run.setup, run.client_identities[1], pinned, min_survivors=7)
    assert type(made) is type(run.client(1)) and made.min_survivors == 7
    holder = run.decryptors[0]
    again = protocols.decryptor(run.setup, holder.session.identity, pinned, answered={}, key=holder._key)  # type: ignore[attr-defined]
    assert type(again) is type(holder)


def test_a_protocol_without_decryptors_has_none() -> None:
    run = enrol("plain", SPEC, run_id=b"run", client_ids=(1, 2))
    with pytest.raises(errors.RosterError, match="plain has no decryptors"):
        protocols.decryptor(run.setup, Identity.generate("decryptor", 0), run.enrolment.public, answered={})


def test_a_committee_of_several_is_refused_by_a_protocol_of_one_decryptor() -> None:
    run = enrol("ckks", SPEC, run_id=b"run", client_ids=(1, 2))
    setup = Setup.from_bytes(run.setup)
    roster = setup.verify(run.enrolment.public)
    members = tuple(Identity.generate("decryptor", number).public for number in range(3))
    several = Roster(roster.server, roster.clients, members, 2, 0).sign(run.enrolment)
    other = Setup("ckks", SPEC, b"run", several, setup.public_keys).signed(run.enrolment).to_bytes()
    with pytest.raises(errors.RosterError, match="one decryptor, not 3"):
        protocols.client(other, run.client_identities[1], run.enrolment.public, min_survivors=2)


def test_parameters_have_a_name_before_anything_is_made() -> None:
    assert protocols.check("plain", SPEC) == "8 bits"
    assert protocols.check("ckks", SPEC) == choose(SPEC).name
    run = enrol("ckks", SPEC, run_id=b"run", client_ids=(1, 2))
    assert run.server().parameters == protocols.check("ckks", SPEC)
    with pytest.raises(errors.WrongProtocolError, match="choose one of"):
        protocols.check("rot13", SPEC)


def test_an_enrolment_key_of_another_run_opens_no_setup() -> None:
    run = enrol("plain", SPEC, run_id=b"run", client_ids=(1, 2))
    with pytest.raises(errors.RosterError, match="pinned"):
        protocols.server(run.setup, run.server_identity, EnrolmentKey.generate().public)
