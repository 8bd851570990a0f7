"""A short run of the fuzzing, and proof that it finds what it looks for.

A longer run: python -m protocols.fuzzing
"""

import json
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocols import PROTOCOLS, Identity
from protocols.codec import HEADER_BYTES, read_frame
from protocols.errors import FrameError, TruncatedError
from protocols.errors import ProtocolError as Refusal
from protocols.fuzzing import __main__ as command
from protocols.fuzzing.campaign import MAX_BYTES, campaign
from protocols.fuzzing.mutate import OVERSIZED, mutated, signed_header
from protocols.fuzzing.recorded import Recorded
from protocols.fuzzing.targets import Target, WronglyAccepted, targets

NAMES = sorted(targets())
SIGNER, READER = Identity.generate("decryptor", 0), Identity.generate("server", 0).public


@pytest.mark.parametrize("name", NAMES)
def test_no_mutant_is_accepted_or_crashes_or_takes_long(name: str) -> None:
    report = campaign(targets()[name], mutants=300, seed=1)
    assert report.clean, report.findings
    assert report.refused + report.well_formed == 300 and report.refused > 100


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_kind_of_message_of_a_protocol_has_a_target(protocol: str) -> None:
    phases = Recorded(protocol).steps
    expected = {step.phase.sends for step in phases} | {step.phase.answers for step in phases}
    found = [target for name, target in targets().items() if name.startswith(f"{protocol}: ") and target.signer]
    assert {read_frame(target.sample).header.kind for target in found} == expected


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(NAMES), st.binary(max_size=400))
def test_any_bytes_at_all_are_refused_in_a_sentence(name: str, data: bytes) -> None:
    with pytest.raises(Refusal, match=r"\.$"):
        targets()[name].make()(data)


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from([name for name in NAMES if targets()[name].signer]), st.binary(max_size=400))
def test_any_body_that_its_sender_signs_is_refused_in_a_sentence_or_well_formed(name: str, body: bytes) -> None:
    target = targets()[name]
    try:
        target.make()(target.signed(body))
    except Refusal as refusal:
        assert str(refusal).endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_a_message_far_too_long_is_refused_without_being_taken_apart(name: str) -> None:
    target = targets()[name]
    far_too_long = target.signed(bytes(OVERSIZED))
    read = target.make()
    tracemalloc.start()
    try:
        with pytest.raises(Refusal):
            read(far_too_long)
        assert tracemalloc.get_traced_memory()[1] < MAX_BYTES
    finally:
        tracemalloc.stop()


# A fuzzing that cannot fail would promise nothing: here it meets decoders with one fault each.


def honest(data: bytes) -> None:
    """A sound decoder of PLANTED's sample."""
    frame = read_frame(data)
    frame.header.check_signature(SIGNER.public, frame.body_digest, frame.signature)
    sample = read_frame(PLANTED.sample)
    if replace(frame.header, body_bytes=0) != replace(sample.header, body_bytes=0):
        raise FrameError("That is another header.")


def planted(reader: Callable[[bytes], object]) -> Target:
    return replace(PLANTED, make=lambda: reader)


opening = targets()["ckks: opening of decryptor 0"].sample
header = replace(read_frame(opening).header, body_bytes=80)
PLANTED = Target("planted", header.write(SIGNER, bytes(80)), lambda: honest, SIGNER, READER)


def test_the_campaign_finds_nothing_in_a_sound_decoder() -> None:
    report = campaign(PLANTED, mutants=300, seed=1)
    assert report.clean and report.refused and report.well_formed and not report.findings


def test_the_campaign_notices_a_decoder_that_does_not_look_at_signatures() -> None:
    report = campaign(planted(lambda data: read_frame(data)), mutants=300, seed=1)
    assert report.accepted and {finding.sentence for finding in report.findings} == {
        "not signed",
        "signed for another place",
    }


def test_the_campaign_notices_a_decoder_that_takes_messages_for_another_place() -> None:
    def reader(data: bytes) -> None:
        frame = read_frame(data)
        frame.header.check_signature(SIGNER.public, frame.body_digest, frame.signature)

    report = campaign(planted(reader), mutants=300, seed=1)
    assert {finding.sentence for finding in report.findings} == {"signed for another place"}
    with pytest.raises(FrameError):
        honest(report.findings[0].message)


def test_the_campaign_notices_an_oracle_that_objects() -> None:
    def reader(data: bytes) -> None:
        honest(data)
        if data != PLANTED.sample:
            raise WronglyAccepted("it is not what it was")

    assert campaign(planted(reader), mutants=300, seed=1).accepted


def test_the_campaign_notices_a_crash_behind_the_signature_and_keeps_the_message() -> None:
    def reader(data: bytes) -> None:
        honest(data)
        _ = read_frame(data).body[79]

    report = campaign(planted(reader), mutants=300, seed=1)
    assert report.crashed and not report.accepted
    finding = report.findings[0]
    assert finding.what == "crashed" and "IndexError" in finding.sentence and "test_fuzzing.py" in finding.sentence
    with pytest.raises(IndexError):
        reader(finding.message)


def test_the_campaign_notices_a_decoder_that_a_refused_message_spoils() -> None:
    refused: list[bytes] = []

    def reader(data: bytes) -> None:
        if len(refused) > 20:
            raise TruncatedError("Too much was refused.")
        try:
            honest(data)
        except Refusal:
            refused.append(data)
            raise

    report = campaign(planted(reader), mutants=300, seed=1)
    assert report.spoiled and not report.accepted and not report.crashed


def test_the_campaign_notices_a_message_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.fuzzing.campaign.MAX_SECONDS", 0.02)

    def reader(data: bytes) -> None:
        honest(data)
        ends = time.process_time() + 0.03
        while data[HEADER_BYTES] and time.process_time() < ends:
            pass

    report = campaign(planted(reader), mutants=60, seed=1)
    assert report.slow and not report.crashed and report.slowest > 0.02


def test_the_campaign_notices_a_message_that_takes_too_much_memory() -> None:
    def reader(data: bytes) -> None:
        honest(data)
        np.empty(int.from_bytes(read_frame(data).body[:4], "little") % (1 << 28), np.uint8)

    report = campaign(planted(reader), mutants=300, seed=1)
    assert report.large and not report.crashed and report.peak > 64 << 20


def test_a_seed_repeats_the_mutants() -> None:
    one, other = (
        [mutated(PLANTED.sample, rng) for _ in range(50)]
        for rng in (np.random.default_rng(3), np.random.default_rng(3))
    )
    assert one == other and len(set(one)) > 40


def test_a_signed_header_says_something_else_and_is_signed() -> None:
    rng = np.random.default_rng(1)
    frame = read_frame(PLANTED.sample)
    for _ in range(100):
        changed = read_frame(signed_header(frame, SIGNER, READER, rng))
        assert changed.header != frame.header and changed.body == frame.body
        assert changed.signature or changed.seal
        if changed.signature:
            changed.header.check_signature(SIGNER.public, changed.body_digest, changed.signature)


def test_the_command_counts_writes_rows_and_fails_on_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.json"
    arguments = ["--mutants", "20", "--seed", "1", "--json", str(file)]
    assert command.main([*arguments, "--target", "plain: vector"]) == 0
    (row,) = json.loads(file.read_text())
    assert row["target"] == "plain: vector of client 3" and row["refused"] + row["well_formed"] == 20
    monkeypatch.setattr(command, "targets", lambda: {"planted": planted(lambda data: None)})
    assert command.main(arguments) == 1
    (row,) = json.loads(file.read_text())
    assert row["accepted"] and bytes.fromhex(row["findings"][0]["message"])
    assert "accepted: not signed" in capsys.readouterr().out
