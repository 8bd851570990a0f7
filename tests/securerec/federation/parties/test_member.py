import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import ProtocolError, RoundAborted
from securerec.config import Config, make_config
from securerec.data.dataset import Dataset
from securerec.errors import RunError
from securerec.federation.guards import table_digest
from securerec.federation.parties import letters
from securerec.federation.parties.letters import Call, Hello, LetterError, Present, Reply
from securerec.federation.parties.member import AnsweredRounds, Member

sys.path.insert(0, str(Path(__file__).parent))
from small_federation import SmallFederation, enrolled  # noqa: E402


@given(st.dictionaries(st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32), max_size=6))
def test_a_record_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, rounds: dict[int, bytes]) -> None:
    path = tmp_path_factory.mktemp("answered") / "round.rounds"
    written = AnsweredRounds.begin(path)
    for number, digest in rounds.items():
        written[number] = digest
    assert dict(AnsweredRounds(path)) == rounds


def test_what_was_answered_in_a_round_is_never_rewritten(tmp_path: Path) -> None:
    record = AnsweredRounds.begin(tmp_path / "a")
    record[3] = bytes(32)
    record[3] = bytes(32)
    with pytest.raises(RunError, match="never rewritten"):
        record[3] = b"1" * 32
    with pytest.raises(RunError, match="stays answered"):
        del record[3]
    assert dict(AnsweredRounds(tmp_path / "a")) == {3: bytes(32)}
    assert (tmp_path / "a").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damage", [lambda d: d[:-1], lambda d: d + b"x", lambda d: b"x" + d[1:], lambda d: d + d[6:]])
def test_a_decryptor_with_a_damaged_record_does_not_start(tmp_path: Path, damage: object) -> None:
    record = AnsweredRounds.begin(tmp_path / "a")
    record[3], record[9] = bytes(32), bytes(32)
    (tmp_path / "a").write_bytes(damage((tmp_path / "a").read_bytes()))  # type: ignore[operator]
    with pytest.raises(RunError, match="is damaged"):
        AnsweredRounds(tmp_path / "a")


def test_a_round_is_on_disk_before_it_counts_as_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = AnsweredRounds.begin(tmp_path / "a")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):
        patched.setattr(os, "fsync", full)
        record[1] = bytes(32)
    assert 1 not in record and 1 not in AnsweredRounds(tmp_path / "a")


def settings(protocol: str) -> Config:
    values = {
        "seed": 7, "data": {"dataset": "toy", "sampled_negatives": 15}, "training": {"rounds": 2, "dim": 2},
        "protocol": {"protocol": protocol}, "evaluation": {"keep": "last"}, "start": {"segments": (1,)},
    }  # fmt: skip
    return make_config(values).resolved(24)


def uploads(small: SmallFederation, leave_out: int | None) -> list[tuple[int, bytes]]:
    """Letters of the last phase to each decryptor, of a popularity that was played without one client's upload."""
    table = np.zeros((small.federation.n_items, 1), np.float32)
    server_round = small.server("popularity").open_round(
        1, context=table_digest(table, small.federation.run_id), min_survivors=22, secret=bytes(32)
    )
    found: list[tuple[int, bytes]] = []
    while not server_round.done:
        outbox, found = server_round.outbox(), []
        clients = {address.number: message for address, message in outbox.items() if address.role == "client"}
        if clients:
            reply = small.send("node-0", letters.Ask("popularity", 1, 1, messages=clients))
            for client, answer in reply.answers.items():
                if client != leave_out:
                    server_round.receive(answer)
        for address, message in outbox.items():
            if address.role == "decryptor":
                found.append((address.number, letters.to_bytes(Call("popularity", message))))
                reply = letters.read_reply(small.members[address.number].answer(found[-1][1]), numbers=[address.number])
                for answer in reply.answers.values():
                    server_round.receive(answer)
        server_round.close_phase()
    return found


@pytest.mark.parametrize("protocol", ["ckks", "ckks-committee"])
def test_decryptors_that_restarted_open_no_second_set_of_survivors(
    tmp_path: Path, toy: Dataset, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = enrolled(tmp_path, settings(protocol), toy)
    small.start_nodes(24)
    uploads(small, leave_out=None)
    for number in small.holders:
        small.start_member(number)
    with pytest.raises((RoundAborted, ProtocolError)):
        uploads(small, leave_out=3)
    assert all(record.exists() for record in tmp_path.glob("decryptor-*/popularity.rounds"))


def test_the_same_letter_gets_the_same_bytes(tmp_path: Path, toy: Dataset) -> None:
    small = enrolled(tmp_path, settings("ckks-committee"), toy)
    small.start_nodes(24)
    for number, letter in uploads(small, leave_out=None):
        answered = small.members[number].answer(letter)
        assert small.members[number].answer(letter) == answered
        assert letters.read_reply(answered, numbers=[number]).answers
        refused = letters.read_reply(small.start_member(number).answer(letter), numbers=[number])
        assert not refused.answers, "shares are gone with the process that held them"


def test_a_decryptor_presents_itself_and_refuses_what_is_not_for_it(tmp_path: Path, toy: Dataset) -> None:
    small = enrolled(tmp_path, settings("ckks-committee"), toy)
    member = small.members[2]
    present = letters.from_bytes(member.answer(letters.to_bytes(Hello())))
    assert isinstance(present, Present) and (present.role, present.numbers) == ("decryptor", (2,))
    assert set(present.setups) == {"popularity", "segments", "round"}
    reply = letters.from_bytes(member.answer(letters.to_bytes(Call("no such", b"x"))))
    assert isinstance(reply, Reply) and "no release" in reply.refusals[2]
    assert not letters.read_reply(member.answer(letters.to_bytes(Call("round", b"x"))), numbers=[2]).answers
    with pytest.raises(LetterError):
        member.answer(letters.to_bytes(Reply()))
    with pytest.raises(LetterError):
        member.answer(b"not a letter")


def test_a_decryptor_whose_record_is_missing_does_not_start(tmp_path: Path, toy: Dataset) -> None:
    small = enrolled(tmp_path, settings("ckks-committee"), toy)
    (tmp_path / "decryptor-2" / "round.rounds").unlink()
    with pytest.raises(RunError, match="round.rounds is missing.*leave it out of the run"):
        small.start_member(2)


def test_a_decryptor_answers_no_sum_below_its_owners_least(tmp_path: Path, toy: Dataset) -> None:
    small = enrolled(tmp_path, settings("ckks-committee"), toy)
    small.start_nodes(24)
    for number, holder in small.holders.items():
        small.members[number] = Member(small.federation, holder, tmp_path / f"decryptor-{number}", min_cohort=23)
    with pytest.raises(RoundAborted):
        uploads(small, leave_out=None)
