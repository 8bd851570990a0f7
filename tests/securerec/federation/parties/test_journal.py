from pathlib import Path

import pytest

from protocols.identity import Address
from securerec.errors import RunError
from securerec.federation.parties.journal import FORGOTTEN, Journal


def begun(path: Path) -> Journal:
    journal = Journal(path)
    journal.begin("round", "round 1", 1)
    return journal


def close(journal: Journal, name: str, answers: dict[Address, bytes]) -> None:
    with journal.hearing() as keep:
        for message in answers.values():
            keep(message)
    journal.close_phase(name, answers)


def test_an_attempt_is_the_same_after_a_crash(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    close(journal, "upload", {Address("client", 3): b"three", Address("client", 1): b""})
    close(journal, "open", {Address("decryptor", 0): b"share"})
    journal.ask("ab" * 32)
    again = Journal(tmp_path)
    assert again.attempt == journal.attempt == again.begin("round", "round 1", 1)
    assert [phase.heard for phase in again.attempt.phases] == [(1, 3), (0,)]
    assert list(again.answers(0)) == [b"three", b""] and list(again.answers(1)) == [b"share"]
    assert again.attempt.asked == "ab" * 32


def test_what_clients_are_sent_is_sent_again(tmp_path: Path) -> None:
    assert begun(tmp_path).send(1, {4: b"sealed once"}) == {4: b"sealed once"}
    assert Journal(tmp_path).send(1, {4: b"sealed anew", 5: b"another"}) == {4: b"sealed once"}


def test_answers_of_a_phase_that_was_not_closed_are_not_heard(tmp_path: Path) -> None:
    with begun(tmp_path).hearing() as keep:
        keep(b"half")
    journal = Journal(tmp_path)
    assert journal.attempt is not None and journal.attempt.phases == ()
    close(journal, "upload", {Address("client", 2): b"whole"})
    assert list(journal.answers(0)) == [b"whole"]


def test_the_next_attempt_has_another_secret_and_nothing_of_the_one_before(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    first = journal.attempt
    journal.send(1, {4: b"sealed once"})
    journal.give_up("too few came")
    second = journal.begin("round", "round 1", 1)
    assert first is not None and (first.number, second.number) == (1, 2) and first.secret != second.secret
    assert journal.send(1, {4: b"sealed anew"}) == {4: b"sealed anew"}
    assert Journal(tmp_path).given_up("round 1") == ("too few came",)


def test_attempts_that_only_the_ledger_knows_are_not_made_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.begin("round", "round 1", 1, charged=2).number == 3
    assert journal.given_up("round 1") == (FORGOTTEN, FORGOTTEN)


def test_the_secret_shows_in_no_repr_and_the_files_are_the_owner_s_alone(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    close(journal, "upload", {Address("client", 2): b"whole"})
    assert journal.attempt is not None and journal.attempt.secret.hex() not in repr(journal.attempt)
    for file in tmp_path.rglob("*"):
        assert file.stat().st_mode & 0o077 == 0, file


@pytest.mark.parametrize("content", [b"", b"{}", b'{"given_up": {}, "attempt": {"label": 1}}', b'{"given_up": 3}'])
def test_a_damaged_journal_is_refused(tmp_path: Path, content: bytes) -> None:
    begun(tmp_path)
    (tmp_path / "journal.json").write_bytes(content)
    with pytest.raises(RunError, match="damaged"):
        Journal(tmp_path)


def test_answers_that_are_cut_short_are_refused(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    close(journal, "upload", {Address("client", 2): b"whole"})
    file = next(tmp_path.rglob("*.answers"))
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(RunError, match="cut short"):
        list(journal.answers(0))


def test_a_journal_of_another_release_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="restore"):
        begun(tmp_path).begin("round", "round 2", 2)
