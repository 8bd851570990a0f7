import json
import math
from pathlib import Path

import pytest

from securerec.device.ledger import DAY, DeviceLedger, Sent
from securerec.device.policy import Offer, Policy, PolicyRefused
from securerec.errors import ConfigError, PrivacyError
from securerec.privacy.accounting import central_epsilon, local_epsilon
from securerec.privacy.events import DistributedGaussianSum, Event, Unprotected

SERVER, ENROLMENT = bytes(range(32)), "ab" * 32


def event(label: str = "round 1") -> DistributedGaussianSum:
    return DistributedGaussianSum(label, 100, 1.0, 1000, 1005.0, 500.0, 100, "os", False)


def policy(**changes: object) -> Policy:
    values: dict[str, object] = {"enrolment": ENROLMENT, "servers": (SERVER.hex(),), "min_cohort": 100}
    return Policy(**(values | changes))  # type: ignore[arg-type]


def offer(paid: Event | None = None, **changes: object) -> Offer:
    values: dict[str, object] = {
        "server": SERVER, "protocol": "ckks-committee", "min_survivors": 100, "noise_source": "os", "event": paid
    }  # fmt: skip
    return Offer(**(values | changes))  # type: ignore[arg-type]


def line(number: int = 1, *, when: float = 0.0, paid: Event | None = None) -> Sent:
    return Sent(
        when, "aa", "round", number, 1, SERVER.hex(), "ckks-committee", 100, 120, (1, 2), 4096,
        event(f"round {number}") if paid is None else paid,
    )  # fmt: skip


def test_a_policy_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = policy(max_epsilon=math.inf, protocols=("plain", "ckks"), delta=1e-6)
    written.write(tmp_path / "policy.toml")
    assert Policy.read(tmp_path / "policy.toml") == written
    assert (tmp_path / "policy.toml").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("min_cohort = 3", "must say enrolment, servers"),
        ("min_cohorts = 3", "unknown setting 'min_cohorts'"),
        ("min_cohort =", "not valid TOML"),
        (f'enrolment = "{ENROLMENT}"\nservers = "ab"\nmin_cohort = 3', "servers is a list"),
        (f'enrolment = "{ENROLMENT}"\nservers = ["zz"]\nmin_cohort = 3', "hexadecimal"),
        (f'enrolment = "{ENROLMENT}"\nservers = []\nmin_cohort = 0', "1 or more"),
        (f'enrolment = "{ENROLMENT}"\nservers = []\nmin_cohort = 3\nmax_epsilon = "8"', "above 0"),
        (f'enrolment = "{ENROLMENT}"\nservers = []\nmin_cohort = 3\nmax_epsilon_day = nan', "above 0"),
        (f'enrolment = "{ENROLMENT}"\nservers = []\nmin_cohort = 3\nreproducible_noise = 1', "true or false"),
        (f'enrolment = "{ENROLMENT}"\nservers = []\nmin_cohort = 3\ndelta = 2.0', "between 0 and 1"),
    ],
)
def test_a_policy_that_says_something_else_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "policy.toml").write_text(text)
    with pytest.raises(ConfigError, match=says):
        Policy.read(tmp_path / "policy.toml")


def test_a_policy_that_others_may_write_is_not_followed(tmp_path: Path) -> None:
    policy().write(tmp_path / "policy.toml")
    (tmp_path / "policy.toml").chmod(0o666)
    with pytest.raises(ConfigError, match="written by others"):
        Policy.read(tmp_path / "policy.toml")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"server": bytes(32)}, "not one that this device answers"),
        ({"protocol": "plain"}, "this one is by plain"),
        ({"min_survivors": 99}, "as few as 99 devices"),
        ({"noise_source": "seed"}, "grows from a seed"),
        ({"event": Unprotected("round 1")}, "would be inf; its owner allows 8"),
    ],
)
def test_an_offer_beyond_the_policy_is_refused(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    ledger = DeviceLedger(tmp_path / "ledger.jsonl")
    policy().check(offer(event()), ledger, now=0.0)
    with pytest.raises(PolicyRefused, match=says):
        policy().check(offer(event(), **changes), ledger, now=0.0)


def test_a_day_s_budget_comes_back_and_a_life_s_does_not(tmp_path: Path) -> None:
    ledger = DeviceLedger(tmp_path / "ledger.jsonl")
    one = central_epsilon([event()], delta=1e-5).epsilon
    two = central_epsilon([event(), event()], delta=1e-5).epsilon
    three = central_epsilon([event()] * 3, delta=1e-5).epsilon
    assert one < two < three
    daily = policy(max_epsilon=two, max_epsilon_day=one)
    ledger.append(line(1, when=1000.0))
    with pytest.raises(PolicyRefused, match="epsilon of 24 hours"):
        daily.check(offer(event()), ledger, now=1000.0 + DAY - 1)
    daily.check(offer(event()), ledger, now=1000.0 + DAY + 1)
    # a clock that was set back wins nothing
    with pytest.raises(PolicyRefused, match="epsilon of 24 hours"):
        daily.check(offer(event()), ledger, now=0.0)
    ledger.append(line(2, when=1000.0 + DAY + 1))
    with pytest.raises(PolicyRefused, match="whole life"):
        daily.check(offer(event()), ledger, now=1000.0 + 9 * DAY)
    # what was paid before is not paid again
    daily.check(offer(None), ledger, now=1000.0 + 9 * DAY)


def test_a_local_limit_is_counted_by_one_device_s_own_noise(tmp_path: Path) -> None:
    ledger = DeviceLedger(tmp_path / "ledger.jsonl")
    local = local_epsilon([event()], delta=1e-5).epsilon
    policy(max_local_epsilon=local).check(offer(event()), ledger, now=0.0)
    with pytest.raises(PolicyRefused, match="local epsilon"):
        policy(max_local_epsilon=local * 0.99).check(offer(event()), ledger, now=0.0)


def test_a_ledger_is_read_as_it_was_written_and_its_epsilons_compose(tmp_path: Path) -> None:
    ledger = DeviceLedger(tmp_path / "ledger.jsonl")
    for number in (1, 2, 3):
        ledger.append(line(number))
    again = DeviceLedger(tmp_path / "ledger.jsonl")
    assert again.sent() == ledger.sent()
    events = [event(f"round {number}") for number in (1, 2, 3)]
    assert list(again.events()) == events
    assert again.sent()[-1].central_epsilon == central_epsilon(events, delta=1e-5).epsilon
    assert again.sent()[-1].local_epsilon == local_epsilon(events, delta=1e-5).epsilon
    ledger.append(line(4, paid=Unprotected("round 4")))
    assert json.loads((tmp_path / "ledger.jsonl").read_text().splitlines()[-1])["central_epsilon"] is None
    assert DeviceLedger(tmp_path / "ledger.jsonl").sent()[-1].central_epsilon == math.inf


def test_an_attempt_pays_once_and_never_something_else(tmp_path: Path) -> None:
    ledger = DeviceLedger(tmp_path / "ledger.jsonl")
    assert ledger.append(line()).event == event()
    assert ledger.append(line()).event is None
    assert len(ledger.events()) == 1 and len(ledger.sent()) == 2
    with pytest.raises(PrivacyError, match="never rewritten"):
        ledger.append(line(paid=event("round 1, changed")))


@pytest.mark.parametrize("damage", ["cut", "field", "event", "text", "more"])
def test_a_damaged_ledger_is_not_trusted(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "ledger.jsonl"
    DeviceLedger(path).append(line())
    text = path.read_text()
    values = json.loads(text)
    if damage == "cut":
        path.write_text(text[:-5])
    elif damage == "field":
        path.write_text(json.dumps({k: v for k, v in values.items() if k != "when"}) + "\n")
    elif damage == "event":
        path.write_text(text.replace("client_sigma", "client_sigmas"))
    elif damage == "text":
        path.write_bytes(b"\xff\xfe\n")
    else:
        path.write_text(json.dumps(values | {"extra": 1}) + "\n")
    with pytest.raises(PrivacyError, match="ledger"):
        DeviceLedger(path)


def test_a_clock_that_was_set_back_and_right_again_wins_nothing(tmp_path: Path) -> None:
    ledger = DeviceLedger(tmp_path / "ledger.jsonl")
    one = central_epsilon([event()], delta=1e-5).epsilon
    daily = policy(max_epsilon=math.inf, max_epsilon_day=one)
    ledger.append(line(1, when=1000.0))
    ledger.append(line(2, when=1000.0 - 9 * DAY))
    assert [each.when for each in ledger.sent()] == [1000.0, 1000.0]
    with pytest.raises(PolicyRefused, match="epsilon of 24 hours"):
        daily.check(offer(event()), ledger, now=1000.0 - 9 * DAY)
    with pytest.raises(PolicyRefused, match="epsilon of 24 hours"):
        daily.check(offer(event()), ledger, now=1000.0 + DAY - 1)


def test_a_ledger_that_is_not_as_it_was_marked_is_noticed(tmp_path: Path) -> None:
    path, other = tmp_path / "ledger.jsonl", tmp_path / "other.jsonl"
    ledger = DeviceLedger(path)
    ledger.check(ledger.mark())
    marks = [ledger.mark()]
    for number in (1, 2, 3):
        ledger.append(line(number))
        marks.append(ledger.mark())
    DeviceLedger(path).check(marks[3])
    DeviceLedger(path).check(marks[2])  # a crash after the line and before its mark
    with pytest.raises(PrivacyError, match="the store is an older copy"):
        DeviceLedger(path).check(marks[1])
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole[:2]))
    with pytest.raises(PrivacyError, match="has 2 lines and the store knows of 3"):
        DeviceLedger(path).check(marks[3])
    for number in (3, 2, 1):
        DeviceLedger(other).append(line(number))
    with pytest.raises(PrivacyError, match="not the ledger that the store knows"):
        DeviceLedger(other).check(marks[3])
