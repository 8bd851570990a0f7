from pathlib import Path

import pytest

from protocols.identity import Address, EnrolmentKey
from securerec.errors import ConfigError, RunError
from securerec.keys import KeyFolder

MEMBER = Address("decryptor", 2)


@pytest.fixture
def keys(tmp_path: Path) -> KeyFolder:
    folder = KeyFolder(tmp_path / "keys")
    folder.make(clients=3, decryptors=7, threshold=5, tolerated=2)
    return folder


def test_every_party_has_its_own_folder_that_only_its_owner_reads(keys: KeyFolder) -> None:
    roster = keys.roster()
    assert len(list(roster)) == 11
    for party in roster:
        assert keys.identity(party.address).public == party
    secrets = list(keys.path.rglob("*.key"))
    assert len(secrets) == 12
    for path in secrets:
        assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    assert keys.loose() == []
    secrets[0].chmod(0o640)
    assert keys.loose() == [secrets[0]]


def test_rotation_replaces_the_named_keys_and_no_others(keys: KeyFolder) -> None:
    before = {party.address: party for party in keys.roster()}
    after = {party.address: party for party in keys.rotate([MEMBER, Address("client", 0)])}
    assert {address for address in before if before[address] != after[address]} == {MEMBER, Address("client", 0)}
    assert keys.identity(MEMBER).public == after[MEMBER]
    assert not list(keys.path.rglob("*.next.key"))


@pytest.mark.parametrize("instant", ["before the roster", "after the roster"])
def test_an_interrupted_rotation_leaves_keys_that_fit(
    keys: KeyFolder, monkeypatch: pytest.MonkeyPatch, instant: str
) -> None:
    class Killed(Exception):
        pass

    before = keys.roster()

    def killed(*arguments: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if instant == "before the roster":
            patch.setattr("securerec.keys.Roster.sign", killed)
        else:
            patch.setattr(KeyFolder, "identity", killed)
        with pytest.raises(Killed):
            keys.rotate([MEMBER])
    assert (keys.roster() == before) == (instant == "before the roster")
    assert keys.identity(MEMBER).public == keys.roster().of("decryptor", 2)
    assert not list(keys.path.rglob("*.next.key"))


def test_what_does_not_fit_is_refused(keys: KeyFolder) -> None:
    with pytest.raises(RunError, match="is not empty"):
        keys.make(clients=1, decryptors=0, threshold=0, tolerated=0)
    with pytest.raises(ConfigError, match="is no safe committee"):
        KeyFolder(keys.path / "other").make(clients=1, decryptors=7, threshold=4, tolerated=2)
    assert not (keys.path / "other").exists()
    with pytest.raises(ConfigError, match="does not name client 9: nothing was rotated"):
        keys.rotate([Address("client", 9)])
    (keys.path / "client-1" / "identity.key").write_bytes((keys.path / "client-2" / "identity.key").read_bytes())
    with pytest.raises(RunError, match="holds other keys than the roster names for client 1"):
        keys.identity(Address("client", 1))
    (keys.path / "public" / "enrolment.pub").write_bytes(EnrolmentKey.generate().public)
    with pytest.raises(RunError, match="not signed by the pinned enrolment key"):
        keys.roster()
    (keys.path / "public" / "roster").unlink()
    with pytest.raises(RunError, match="roster cannot be read"):
        keys.roster()
