from dataclasses import replace
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import EnrolmentKey, Identity, ProtocolError, Roster, Setup, SumSpec, enrol
from protocols.errors import RosterError, SetupError, WrongProtocolError

KEY = EnrolmentKey.generate()
SERVER = Identity.generate("server", 0).public
CLIENTS = tuple(Identity.generate("client", number).public for number in (2, 5, 11))
MEMBERS = tuple(Identity.generate("decryptor", number).public for number in range(9))


@given(st.integers(0, 9), st.integers(0, 10), st.integers(0, 10))
def test_any_two_quorums_of_an_accepted_committee_share_an_honest_member(n: int, t: int, f: int) -> None:
    try:
        Roster(SERVER, CLIENTS, MEMBERS[:n], t, f)
    except RosterError:
        # What is refused has two quorums that meet in corrupt members only, or cannot be, or trusts nobody.
        assert 2 * t - n <= f or t > n or (n == 0 and (t or f))
    else:
        assert n == t == f == 0 or (2 * t - n > f and t <= n)


def test_every_flipped_bit_of_a_roster_is_refused() -> None:
    data = Roster(SERVER, CLIENTS[:1], MEMBERS[:1], 1, 0).sign(KEY)
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RosterError):
            Roster.verify(bytes(flipped), KEY.public)


def test_a_roster_finds_its_parties_and_no_others() -> None:
    roster = Roster(SERVER, CLIENTS, MEMBERS[:3], 2, 0)
    assert roster.of("client", 5) is CLIENTS[1] and roster.of("decryptor", 2) is MEMBERS[2]
    assert roster.of("server", 0) is SERVER
    assert roster.of("client", 3) is None and roster.of("decryptor", 5) is None and roster.of("server", 1) is None
    assert repr(roster) == "Roster(3 clients, 2 of 3 decryptors)"


def test_rosters_that_differ_in_anything_have_different_digests() -> None:
    rosters = [
        Roster(SERVER, CLIENTS, MEMBERS[:7], 5, 2),
        Roster(SERVER, CLIENTS, MEMBERS[:7], 6, 2),
        Roster(SERVER, CLIENTS, MEMBERS[:7], 5, 1),
        Roster(SERVER, CLIENTS[:2], MEMBERS[:7], 5, 2),
        Roster(Identity.generate("server", 0).public, CLIENTS, MEMBERS[:7], 5, 2),
        Roster(SERVER, CLIENTS, MEMBERS[:6], 5, 2),
    ]
    assert len({roster.digest for roster in rosters}) == len(rosters)
    for roster in rosters:
        assert Roster.verify(roster.sign(KEY), KEY.public) == roster


def test_a_party_in_the_wrong_list_is_refused() -> None:
    with pytest.raises(RosterError, match="lists a party as client whose identity is of another role"):
        Roster(SERVER, (MEMBERS[0],))
    with pytest.raises(RosterError, match="server"):
        Roster(CLIENTS[0], CLIENTS[1:])


# Setups.


@lru_cache
def plain_setup() -> bytes:
    return enrol("plain", SumSpec(3, 4, 2, 5), run_id=b"run", client_ids=(1, 2)).setup


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_no_setup_and_no_roster(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="[.]$"):
        Setup.from_bytes(data)
    with pytest.raises(ProtocolError, match="[.]$"):
        Roster.verify(data, KEY.public)


def test_a_setup_cut_or_padded_or_of_another_version_is_refused() -> None:
    data = plain_setup()
    for wrong in (data[:-1], data + b"\0", data[:4] + b"\1" + data[5:], b"S" + data[1:], data[:10], b""):
        with pytest.raises(SetupError, match="[.]$"):
            Setup.from_bytes(wrong)
    with pytest.raises(WrongProtocolError, match="number 250"):
        Setup.from_bytes(data[:5] + b"\xfa" + data[6:])


def test_every_flipped_bit_of_a_setup_is_refused_or_makes_another_setup() -> None:
    data = plain_setup()
    original = Setup.from_bytes(data)
    for bit in range(8 * 120):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            setup = Setup.from_bytes(bytes(flipped))
        except ProtocolError:
            continue
        assert setup.digest != original.digest
        assert setup.to_bytes() == bytes(flipped)


def test_setups_that_differ_in_anything_have_different_digests() -> None:
    setup = Setup.from_bytes(plain_setup())
    changed = [
        setup,
        replace(setup, protocol="ckks"),
        replace(setup, spec=SumSpec(3, 4, 1, 5)),
        replace(setup, run_id=b"ru"),
        replace(setup, roster=setup.roster[:-1]),
        replace(setup, public_keys=b"key"),
        replace(setup, run_id=setup.run_id + setup.roster[:1], roster=setup.roster[1:]),
    ]
    assert len({one.digest for one in changed}) == len(changed)


def test_enrolment_refuses_what_cannot_be() -> None:
    spec = SumSpec(3, 4, 2, 5)
    with pytest.raises(WrongProtocolError, match="choose one of plain, ckks"):
        enrol("rot13", spec, run_id=b"run", client_ids=(1,))
    with pytest.raises(RosterError, match="twice"):
        enrol("plain", spec, run_id=b"run", client_ids=(1, 1))
    with pytest.raises(RosterError, match="names 1 to"):
        enrol("plain", spec, run_id=b"run", client_ids=())
    for run_id in (b"", b"x" * 256):
        with pytest.raises(SetupError, match="run id"):
            enrol("plain", spec, run_id=run_id, client_ids=(1,))


def test_an_enrolment_prints_no_private_key() -> None:
    run = enrol("ckks", SumSpec(3, 4, 2, 5), run_id=b"run", client_ids=(1, 2))
    text = repr(run) + repr(run.decryptors) + repr(run.client_identities) + repr(run.server()) + repr(run.client(1))
    for identity in (run.server_identity, *run.client_identities.values()):
        for secret in (identity.to_bytes()[14:46], identity.to_bytes()[46:]):
            assert secret.hex() not in text and repr(secret)[2:-1] not in text
    assert len(repr(run)) < 300
