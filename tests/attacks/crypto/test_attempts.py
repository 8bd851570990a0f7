"""What an auditor runs against protocols: it is refused in the words that belong there, and notices a missing check."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from attacks.crypto import __main__ as command
from attacks.crypto.attempts import CryptoAttack, crypto_attacks, run_attempts
from attacks.crypto.parties import Parties
from attacks.errors import AttackError
from protocols import PROTOCOLS, Address
from protocols.manifest import Manifest
from protocols.pairwise.client import PairwiseClientRound
from protocols.pairwise.keys import Direction
from protocols.roles.decryptor import Decryptor
from protocols.roles.server import ServerRound
from protocols.session import Session

WORDS = {
    ("key from released sums", "ckks"): "none gave a key",
    ("crafted upload (0, K)", "ckks-committee"): "some client's shares do not belong to its ciphertext",
    ("copied upload", "pairwise"): "is a copy of another client's",
    ("copied upload", "ckks"): "is a copy of another client's",
    ("copied upload", "ckks-committee"): "is a copy of another client's",
    ("one client's vector", "pairwise"): "will not open a sum over 1 clients",
    ("one client's vector", "ckks-committee"): "names 1 survivors; its broadcast promised 2",
    ("uploads under swapped names", "ckks"): "names an upload that client 0 did not sign",
    ("uploads under swapped names", "ckks-committee"): "no good box from clients 0, 1",
    ("two survivor sets", "ckks"): "has answered another for that round",
    ("two survivor sets", "ckks-committee"): "has answered another for that round",
    ("two survivor sets", "pairwise"): "goes on only if 5 of its 7 neighbours confirmed the same survivors; 3 did",
    ("both shares of one client", "pairwise"): "goes on only if 5 of its 7 neighbours confirmed the same survivors",
    ("different tables", "ckks"): "names an upload that client 1 did not sign",
    ("different tables", "pairwise"): "do not open",
    ("different tables", "ckks-committee"): "no good box from clients 1, 3, 5, 7",
} | {
    (name, protocol): words
    for protocol in PROTOCOLS
    for name, words in {
        "swapped upload": "The upload of client 1 for round 1 is not sealed or signed by its sender",
        "replayed upload": "The upload of client 0 for round 2 is not sealed or signed by its sender",
        "upload of a foreign roster": "The upload of client 0 for round 1 is not sealed or signed by its sender",
        "one round, two broadcasts": "on another broadcast: not again",
        "a cohort of one": "would open a sum of 1 clients; client 0 takes part in sums of at least 2",
    }.items()
}
FORESEEN = {
    ("key from released doubles", "tenseal"),
    ("crafted upload (0, K)", "ckks"),
    ("one client's vector", "ckks"),
    ("one client's vector", "plain"),
    ("copied upload", "plain"),
    ("different tables", "plain"),
}


def test_every_attempt_on_every_protocol_ends_as_documented_and_in_the_words_of_who_refused() -> None:
    attempts = run_attempts()
    ended = {(attempt.name, attempt.against): attempt for attempt in attempts}
    assert len(ended) == len(attempts) and set(ended) == set(WORDS) | FORESEEN
    assert {place for place, attempt in ended.items() if attempt.succeeded} == FORESEEN
    assert all(attempt.as_promised for attempt in attempts)
    for place, words in WORDS.items():
        assert words in ended[place].outcome, ended[place]


def named(name: str) -> CryptoAttack:
    return next(attack for attack in crypto_attacks() if attack.name == name)


def without(monkeypatch: pytest.MonkeyPatch, owner: type, check: str) -> None:
    monkeypatch.setattr(owner, check, lambda *arguments, **named: None)


@pytest.mark.parametrize("protocol", list(PROTOCOLS))
@pytest.mark.parametrize("name", ["swapped upload", "replayed upload", "upload of a foreign roster"])
def test_a_server_that_no_longer_checks_who_sent_an_upload_is_found_out(
    monkeypatch: pytest.MonkeyPatch, name: str, protocol: str
) -> None:
    without(monkeypatch, Session, "authenticate")
    assert named(name).run(protocol)[0]


@pytest.mark.parametrize("protocol", ["pairwise", "ckks", "ckks-committee"])
def test_a_server_that_takes_copies_is_found_out(monkeypatch: pytest.MonkeyPatch, protocol: str) -> None:
    monkeypatch.setattr(ServerRound, "_seen", property(lambda self: set(), lambda self, value: None), raising=False)
    assert named("copied upload").run(protocol)[0]


@pytest.mark.parametrize("name", ["uploads under swapped names", "different tables"])
def test_a_decryptor_that_no_longer_checks_signatures_is_found_out(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    without(monkeypatch, Manifest, "check_signatures")
    assert named(name).run("ckks")[0]


def test_a_decryptor_without_its_record_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(dict[int, bytes]):
        def __setitem__(self, key: int, value: bytes) -> None:
            pass

    original = Decryptor.__init__

    def begin(self: Decryptor, *arguments: object, **named: object) -> None:
        original(self, *arguments, **named | {"answered": Forgetful()})  # type: ignore[arg-type]

    monkeypatch.setattr(Decryptor, "__init__", begin)
    assert named("two survivor sets").run("ckks")[0]


@pytest.mark.parametrize("name", ["two survivor sets", "both shares of one client"])
def test_clients_that_need_no_confirmations_are_found_out(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    without(monkeypatch, PairwiseClientRound, "_need")
    assert named(name).run("pairwise")[0]


def test_clients_whose_boxes_open_for_another_round_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Direction, "open", lambda self, box, *, what: bytes(64))
    assert named("different tables").run("pairwise")[0]


def test_a_control_that_fails_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attacks.crypto.key_recovery.as_key", lambda transformed, q: (None, 0.0))
    attempt = next(each for each in run_attempts(["tenseal"]))
    assert not attempt.as_promised and attempt.verdict == "FAILED, though it has to succeed"


def test_a_lying_server_s_parties_are_the_genuine_ones() -> None:
    """Left alone, the same small run opens the exact sum."""
    for protocol in PROTOCOLS:
        parties = Parties(protocol)
        result = parties.finish(parties.open())
        assert (result.values == parties.sum(parties.clients)).all() and result.survivors == set(parties.clients)
        assert parties.refusals == {} and parties.words("client") == "Nobody refused."
        assert Address("client", 0).role == "client"


def test_an_unknown_protocol_is_named() -> None:
    with pytest.raises(AttackError, match="there is no protocol 'ckk'; choose among plain, ckks"):
        run_attempts(["ckk"])


def test_the_command_prints_a_table_writes_json_and_says_whether_all_held(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command.main(["plain", "--json", str(tmp_path / "found.json")]) == 0
    assert "swapped upload" in capsys.readouterr().out
    found = json.loads((tmp_path / "found.json").read_text())["attempts"]
    assert {each["against"] for each in found} == {"plain"} and all(each["outcome"] for each in found)
    with monkeypatch.context() as patch:
        without(patch, Session, "authenticate")
        assert command.main(["plain", "--json", "-"]) == AttackError.exit_code
    printed = capsys.readouterr()
    assert any(each["succeeded"] and not each["foreseen"] for each in json.loads(printed.out)["attempts"])
    assert command.main(["nobody"]) == AttackError.exit_code
    assert capsys.readouterr().err.startswith("error: there is no protocol 'nobody'")


def test_the_list_explains_every_attempt() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "attacks.crypto", "--list"], capture_output=True, text=True, check=True
    )
    for attack in crypto_attacks():
        assert attack.name in done.stdout and attack.protocols[0] in done.stdout
