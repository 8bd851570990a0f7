import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securerec.errors import PrivacyError
from securerec.privacy.event_json import from_json, to_json
from securerec.privacy.events import (
    DistributedGaussianSum,
    DistributedLaplaceSum,
    DistributedSkellamSum,
    Event,
    GaussianSum,
    InteractionSgd,
    SampledSum,
    ShuffledReports,
    Unprotected,
)
from securerec.privacy.ledger import Ledger

ROUND = DistributedGaussianSum(
    label="round 1",
    dimension=13_456,
    clip_norm=50.0,
    grid_units=1000,
    sensitivity=1002.2,
    client_sigma=33.7,
    min_survivors=900,
    noise_source="os",
    nonnegative=False,
)
LABELS = st.text(min_size=1, max_size=200).filter(str.isprintable)
POSITIVE = st.floats(min_value=5e-324, allow_infinity=False, allow_nan=False)
COUNTS = st.integers(1, 10**12)
SOURCES = st.sampled_from(["os", "seed"])
RATES = st.floats(0, 1, exclude_min=True)
SHARED = {
    "label": LABELS,
    "dimension": COUNTS,
    "clip_norm": POSITIVE,
    "grid_units": COUNTS,
    "sensitivity": POSITIVE,
    "min_survivors": COUNTS,
    "noise_source": SOURCES,
}
GAUSSIANS = st.builds(
    DistributedGaussianSum, **SHARED, client_sigma=st.floats(0.5, 1e300), nonnegative=st.booleans()
) | st.builds(GaussianSum, LABELS, POSITIVE, SOURCES)
EVENTS = st.one_of(
    GAUSSIANS,
    st.builds(Unprotected, LABELS),
    st.builds(
        DistributedSkellamSum, **SHARED, sensitivity_l1=POSITIVE, client_variance=POSITIVE, nonnegative=st.booleans()
    ),
    st.builds(DistributedLaplaceSum, **SHARED, client_scale=POSITIVE),
    st.builds(SampledSum, LABELS, GAUSSIANS, st.sampled_from(["poisson", "fixed"]), RATES, COUNTS),
    st.builds(ShuffledReports, LABELS, POSITIVE, st.floats(0, 1, exclude_max=True), COUNTS),
    st.builds(InteractionSgd, LABELS, RATES, POSITIVE, COUNTS, POSITIVE, SOURCES),
)
SAMPLED = SampledSum("rounds", ROUND, "poisson", 0.1, 30)


@given(EVENTS)
def test_an_event_comes_back_from_its_line(event: Event) -> None:
    line = to_json(event)
    assert "\n" not in line
    assert from_json(line) == event


def altered(event: Event = ROUND, /, **changes: object) -> str:
    record = json.loads(to_json(event)) | changes
    return json.dumps({name: value for name, value in record.items() if value is not ...}, default=lambda _: None)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("", "not one JSON object"),
        ("[]", "not one JSON object"),
        ("7", "not one JSON object"),
        ("{} {}", "not one JSON object"),
        (to_json(ROUND) + " {}", "not one JSON object"),
        (to_json(ROUND)[:-1], "not one JSON object"),
        ("[" * 100_000, "not one JSON object"),
        ("{}", "unknown kind of event None"),
        (altered(kind="laplace"), "unknown kind of event 'laplace'"),
        (altered(kind=["unprotected"]), "unknown kind"),
        (altered(sampling=0.1), "unknown field 'sampling'"),
        ('{"kind": "unprotected", "label": "a", "dimension": 1}', "unknown field 'dimension'"),
        ('{"kind": "unprotected", "label": "a", "label": "b"}', "stands twice"),
        ('{"kind": "unprotected"}', "lacks the field 'label'"),
        ('{"kind": "unprotected", "label": ""}', "label"),
        ('{"kind": "unprotected", "label": 3}', "label"),
        ('{"kind": "unprotected", "label": "a\\nb"}', "label"),
        (altered(sensitivity=...), "lacks the field 'sensitivity'"),
        (altered(sensitivity=float("nan")), "not one JSON object: NaN"),
        (altered(sensitivity=0), "sensitivity"),
        (altered(sensitivity=True), "sensitivity"),
        (altered(client_sigma="33.7"), "client_sigma"),
        (altered(client_sigma=0.4), "at least 0.5"),
        (altered(clip_norm=-1.0), "clip_norm"),
        (altered(clip_norm=0).replace('"clip_norm": 0', '"clip_norm": 1e999'), "clip_norm"),
        (altered(min_survivors=0), "min_survivors"),
        (altered(min_survivors=900.0), "min_survivors"),
        (altered(dimension=True), "dimension"),
        (altered(noise_source="/dev/zero"), "noise_source"),
        (altered(noise_source=["os"]), "noise_source"),
        (altered(nonnegative=...), "lacks the field 'nonnegative'"),
        (altered(nonnegative=1), "nonnegative must be true or false"),
        (altered(dimension=2**63), "dimension"),
        (altered(sensitivity=10**400), "sensitivity"),
        (altered(SAMPLED, inner=json.loads(to_json(SAMPLED))), "inner must be a Gaussian sum"),
        (altered(SAMPLED, inner=json.loads(to_json(Unprotected("u")))), "inner must be a Gaussian sum"),
        (altered(SAMPLED, inner=json.loads(altered(min_survivors=0))), "min_survivors"),
        (altered(SAMPLED, inner=json.loads(altered(extra=0))), "unknown field 'extra'"),
        (altered(SAMPLED, inner=7), "not one JSON object"),
        (altered(SAMPLED, sampling="stratified"), "sampling"),
        (altered(SAMPLED, sample_rate=1.1), "sample_rate"),
        (altered(SAMPLED, sample_rate=0), "sample_rate"),
        (altered(SAMPLED, count=0), "count"),
        (altered(ShuffledReports("s", 1.0, 0.0, 10), local_delta=1), "local_delta"),
        (altered(ShuffledReports("s", 1.0, 0.0, 10), local_delta=-0.1), "local_delta"),
        (altered(ShuffledReports("s", 1.0, 0.0, 10), reports=0), "reports"),
        (altered(InteractionSgd("i", 0.1, 1.0, 5, 1.0, "os"), sample_rate=2), "sample_rate"),
        (altered(InteractionSgd("i", 0.1, 1.0, 5, 1.0, "os"), steps=1.5), "steps"),
        (altered(InteractionSgd("i", 0.1, 1.0, 5, 1.0, "os"), noise_source="luck"), "noise_source"),
        (altered(GaussianSum("g", 1.0, "os"), noise_multiplier=0), "noise_multiplier"),
    ],
)
def test_a_line_that_is_not_one_whole_known_event_is_refused(line: str, complaint: str) -> None:
    with pytest.raises(PrivacyError, match=complaint) as caught:
        from_json(line)
    assert "\n" not in str(caught.value)


def test_a_ledger_keeps_events_in_their_order(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "run" / "ledger.jsonl")
    assert ledger.events() == ()
    events = [dataclasses.replace(ROUND, label=f"round {i}") for i in (2, 1, 3)] + [Unprotected("round 4")]
    for event in events:
        ledger.append(event)
    assert Ledger(ledger.path).events() == tuple(events)
    assert len(ledger.path.read_text().splitlines()) == 4


def test_the_same_event_again_changes_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(ROUND)
    before = ledger.path.read_bytes()
    ledger.append(ROUND)
    assert ledger.path.read_bytes() == before


@pytest.mark.parametrize("other", [dataclasses.replace(ROUND, client_sigma=40.0), Unprotected("round 1")])
def test_a_used_label_is_refused_to_another_event(tmp_path: Path, other: Event) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(ROUND)
    before = ledger.path.read_bytes()
    with pytest.raises(PrivacyError, match="'round 1'"):
        ledger.append(other)
    assert ledger.path.read_bytes() == before


def test_a_cut_last_line_is_refused_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    whole = to_json(ROUND) + "\n" + to_json(Unprotected("round 2")) + "\n"
    for end in range(len(to_json(ROUND)) + 2, len(whole)):
        path.write_text(whole[:end])
        with pytest.raises(PrivacyError, match="line 2: the line is cut"):
            Ledger(path).events()
        with pytest.raises(PrivacyError, match="line 2"):
            Ledger(path).append(Unprotected("round 3"))
        assert path.read_text() == whole[:end]


@pytest.mark.parametrize("bad", ["", "garbage", altered(extra=1), to_json(ROUND)])
def test_a_bad_line_is_refused_with_its_number(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_text("".join(line + "\n" for line in (to_json(ROUND), to_json(Unprotected("b")), bad)))
    with pytest.raises(PrivacyError, match="ledger.jsonl line 3: "):
        Ledger(path).events()


def test_bytes_that_are_not_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PrivacyError, match="not text"):
        Ledger(path).events()


def test_a_file_that_changed_under_its_reader_is_read_anew(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for label in ("a", "b", "c"):
        ledger.append(Unprotected(label))
    lines = ledger.path.read_text().splitlines(keepends=True)
    for kept in (lines[:1], lines[1:], [], [*lines, to_json(Unprotected("d")) + "\n"]):
        ledger.path.write_text("".join(kept))
        assert ledger.events() == Ledger(ledger.path).events()
        assert len(ledger.events()) == len(kept)
    ledger.path.write_text("".join([*lines, "{"]))
    for _ in range(2):
        with pytest.raises(PrivacyError, match="line 4: the line is cut short"):
            ledger.events()
    ledger.path.write_text("".join([*lines, lines[1]]))
    with pytest.raises(PrivacyError, match="line 4: the label 'b' is used again"):
        ledger.events()
    ledger.path.unlink()
    assert ledger.events() == ()
