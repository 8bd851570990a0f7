"""Runs under each noise, and whose noise counts."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from numpy.typing import NDArray

import protocols
from protocols.errors import ProtocolError
from securerec.audit.whole import not_audited
from securerec.cli.privacy import account
from securerec.config import LAPLACE_CLIP, Config, make_config
from securerec.data.dataset import Dataset
from securerec.errors import ConfigError, PrivacyError
from securerec.federation import results
from securerec.federation.folder import RunFolder, read_arrays
from securerec.federation.promise import MECHANISMS, Promise, make_promises, planned
from securerec.federation.run import Progress, Run
from securerec.federation.warm_start import PopularityVectors
from securerec.privacy.accounting import central_epsilon, local_epsilon
from securerec.privacy.events import DistributedGaussianSum, DistributedLaplaceSum, DistributedSkellamSum
from securerec.privacy.ledger import Ledger
from securerec.privacy.mechanism import Mechanism
from securerec.privacy.randomness import NoiseKey

DELTA = 1e-5
EVENTS = {
    "gaussian": DistributedGaussianSum, "skellam": DistributedSkellamSum, "laplace": DistributedLaplaceSum
}  # fmt: skip
PLAIN: dict[str, dict[str, Any]] = {"protocol": {"protocol": "plain"}, "evaluation": {"published": False}}
NAMES = pytest.mark.parametrize("name", MECHANISMS)


def settings(**sections: dict[str, Any]) -> Config:
    values: dict[str, Any] = {"seed": 7, "data": {"dataset": "toy", "sampled_negatives": 15}}
    values["training"] = {"rounds": 2, "dim": 4} | sections.pop("training", {})
    return make_config(values | sections).resolved(24)


def play(path: Path, config: Config, dataset: Dataset) -> dict[str, Any]:
    return results.execute(Run.create(path, config, dataset), 1, lambda progress: None)


def promises_of(config: Config, n_items: int = 50, cohort: int = 24) -> dict[str, Promise]:
    return make_promises(config.privacy, planned(config, n_items), cohort=cohort, noise_source="seed")


def mechanism_of(promise: Promise) -> Mechanism:
    assert isinstance(promise.quantiser, Mechanism)
    return promise.quantiser


@NAMES
def test_the_committee_opens_what_a_plain_sum_gives_to_the_bit(tmp_path: Path, toy: Dataset, name: str) -> None:
    found = []
    for protocol in ("plain", "ckks-committee"):
        path = tmp_path / protocol
        config = settings(privacy={"mechanism": name}, protocol={"protocol": protocol})
        figures = play(path, config, toy)
        start, _ = read_arrays(path / "start.safetensors")
        lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
        for line in lines:
            line.pop("upload_bytes")
        opened = {release: total.tobytes() for release, total in start.items()}
        found.append(((path / "model.safetensors").read_bytes(), opened, lines, figures["metrics"]))
    assert found[0] == found[1]


@NAMES
@pytest.mark.parametrize("kind", ["epsilon", "local_epsilon"])
def test_figures_are_what_the_ledger_alone_adds_up_to(tmp_path: Path, toy: Dataset, name: str, kind: str) -> None:
    config = settings(privacy={"mechanism": name, kind: 20.0, "delta": 1e-6}, **PLAIN)
    privacy = play(tmp_path / "run", config, toy)["privacy"]
    events = Ledger(tmp_path / "run" / "ledger.jsonl").events()
    assert {type(event) for event in events} == {EVENTS[name]} and privacy["mechanism"] == name
    central, local = central_epsilon(events, delta=1e-6), local_epsilon(events, delta=1e-6)
    assert (privacy["central_epsilon"], privacy["accountant"]) == (central.epsilon, central.accountant)
    assert privacy["local_epsilon"] == local.epsilon
    spent = central if kind == "epsilon" else local
    assert 20.0 * 0.999 < spent.epsilon <= 20.0
    account(tmp_path / "run", delta=1e-6, json_file=str(tmp_path / "account.json"))
    totals = json.loads((tmp_path / "account.json").read_text())["totals"]
    for total, figure in (("central", central), ("local", local)):
        assert totals[total]["epsilon"]["gdp"] == figure.epsilon and totals[total]["unit"] == "user"


@NAMES
@examples(max_examples=15)
@given(
    epsilon=st.floats(0.5, 50),
    local=st.booleans(),
    rounds=st.integers(0, 20),
    surviving=st.floats(0.5, 1),
    colluding=st.floats(0, 0.4),
)
def test_planned_noise_never_overshoots_the_budget_and_hardly_undershoots(
    name: str, epsilon: float, local: bool, rounds: int, surviving: float, colluding: float
) -> None:
    kind, count = ("local_epsilon", local_epsilon) if local else ("epsilon", central_epsilon)
    epsilon = max(epsilon, 3.0) if local else epsilon  # less needs more noise than the grid holds
    config = settings(
        privacy={"mechanism": name, kind: epsilon, "surviving": surviving, "colluding": colluding, "grid_units": 300},
        training={"rounds": rounds},
    )  # fmt: skip
    promises = promises_of(config)
    events = [
        promises[each.name].event(f"{each.name} {number}")
        for each in planned(config, 50)
        for number in range(each.count)
    ]
    spent = count(events, delta=DELTA).epsilon
    assert spent <= epsilon
    # two grid units are the least noise of a client
    if any(mechanism_of(promise).client_sigma > 2 for promise in promises.values()):
        assert spent > epsilon * 0.999 or min(mechanism_of(each).client_sigma for each in promises.values()) == 2


@NAMES
def test_a_noise_multiplier_is_that_of_a_round_s_sum(name: str) -> None:
    promise = promises_of(settings(privacy={"mechanism": name, "noise_multiplier": 5.0}))["round"]
    assert mechanism_of(promise).noise_multiplier(promise.min_honest) == pytest.approx(5.0)


def test_laplace_clips_in_l1_and_says_so(tmp_path: Path, toy: Dataset) -> None:
    config = settings(privacy={"mechanism": "laplace"}, training={"dim": 4}, **PLAIN)
    assert config.privacy.clip_norm == LAPLACE_CLIP and config.start.segments == ()
    assert settings(privacy={"mechanism": "laplace", "clip_norm": 25.0}).privacy.clip_norm == 25.0
    run = Run.create(tmp_path / "run", config, toy)
    mechanism = mechanism_of(run.promises["popularity"])
    stream = NoiseKey.from_seed(1).stream("a test", 0, 0)
    vectors = PopularityVectors(run.split.train)
    norms = [int(np.abs(mechanism.round_and_clip(*vectors.of(user), stream)).sum()) for user in range(24)]
    assert max(norms) <= mechanism.sensitivity and min(norms) > 0.9 * mechanism.grid_units
    figures = results.execute(run, 1, lambda progress: None)["privacy"]
    assert [each["norm"] for each in figures["releases"]] == ["L1", "L1"]
    other = settings(privacy={"mechanism": "skellam"}, **PLAIN)
    assert {each["norm"] for each in play(tmp_path / "other", other, toy)["privacy"]["releases"]} == {"L2"}


@pytest.mark.parametrize("name", ["skellam", "laplace"])
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(tmp_path: Path, toy: Dataset, name: str) -> None:
    config = settings(privacy={"mechanism": name}, **PLAIN)
    whole = play(tmp_path / "whole", config, toy)

    class Stop(Exception):
        pass

    def stop(progress: Progress) -> None:
        raise Stop

    with pytest.raises(Stop):
        results.execute(Run.create(tmp_path / "stopped", config, toy), 1, stop)
    assert results.execute(Run(RunFolder.open(tmp_path / "stopped"), toy), 1, lambda progress: None) == whole
    for file in ("model.safetensors", "results.json", "ledger.jsonl"):
        assert (tmp_path / "stopped" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file


@pytest.mark.parametrize("name", ["skellam", "laplace"])
def test_noise_without_privacy_and_noise_that_does_not_fit_are_refused_in_a_line(
    tmp_path: Path, toy: Dataset, name: str
) -> None:
    with pytest.raises(ConfigError, match=f"mechanism {name} has no meaning without privacy") as refused:
        settings(privacy={"mechanism": name, "privacy": False})
    assert refused.value.exit_code == 4
    for privacy in ({"noise_multiplier": 1e6}, {"local_epsilon": 0.001}):
        with pytest.raises(PrivacyError, match="client_sigma must lie between") as too_much:
            Run.create(tmp_path / "run", settings(privacy={"mechanism": name, **privacy}), toy)
        assert too_much.value.exit_code == 6 and "\n" not in str(too_much.value)
    assert not (tmp_path / "run").exists()


def test_an_audit_bounds_gaussian_noise_only_and_says_so() -> None:
    for name in ("skellam", "laplace"):
        assert name in not_audited(settings(privacy={"mechanism": name}))[0]
    assert not any("Gaussian" in sentence for sentence in not_audited(settings()))
    assert not_audited(settings(start={"head": False})) == ()
    assert "warm start" in not_audited(settings(start={"head": True}))[-1]


class Cohort:
    """24 clients without an update, their noise, and a committee that opens sums of them."""

    def __init__(self, promise: Promise, *, opens_from: int | None = None) -> None:
        """opens_from: the fewest survivors that the sum's setup asks for; those promised if None."""
        self.promise, mechanism = promise, mechanism_of(promise)
        self._least = promise.min_survivors if opens_from is None else opens_from
        spec = replace(promise.spec(24), min_clients=self._least)
        self.enrolled = protocols.enrol("ckks-committee", spec, run_id=b"a test", client_ids=range(24))
        self.parties = protocols.LocalParties(self.enrolled, min_survivors=promise.min_survivors)
        key, nothing = NoiseKey.from_seed(3), (np.zeros(0, np.int32), np.zeros((0, 1), np.float32))
        self.parties.values = {
            client: mechanism.privatise(*nothing, key.stream("a test", 0, client)) for client in range(24)
        }

    def open(self, *, gone: int) -> protocols.OpenedSum:
        opened = self.enrolled.server().open_round(0, context=bytes(32), min_survivors=self._least)
        return protocols.conduct(
            opened,
            lambda to, message: None if to.role == "client" and to.number < gone else self.parties(to, message),
        )

    def total(self, survivors: frozenset[int]) -> NDArray[np.int64]:
        return np.sum([self.parties.values[client] for client in sorted(survivors)], axis=0)


@NAMES
@pytest.mark.parametrize("gone", [0, 7])
def test_noise_of_an_opened_sum_has_the_variance_that_its_survivors_owe(name: str, gone: int) -> None:
    """The second moment of 8000 coordinates within its 99% interval, with and without three in ten gone."""
    config = settings(privacy={"mechanism": name, "surviving": 0.7, "epsilon": 4.0})
    promise = promises_of(config, n_items=2000)["round"]
    cohort = Cohort(promise)
    opened = cohort.open(gone=gone)
    assert opened.survivors == frozenset(range(gone, 24))
    assert (opened.values == cohort.total(opened.survivors)).all()
    n, variance = 24 - gone, mechanism_of(promise).client_sigma ** 2
    # a sum of n has 1/n of one's excess kurtosis: 0, below 1e-3, 3
    kurtosis = 3 + (3 / n if name == "laplace" else 0)
    deviation = np.sqrt((kurtosis - 1) / opened.values.size)
    assert abs(float((opened.values.astype(float) ** 2).mean()) / (n * variance) - 1) < 2.576 * deviation


COLLUDING = {"surviving": 0.8, "colluding": 0.2, "epsilon": 4.0}
"""Of 24, 20 must be in a sum, and 4 may side with whoever looks: the noise of 16 counts."""


@NAMES
def test_a_round_with_more_dropouts_than_planned_is_refused(name: str) -> None:
    promise = promises_of(settings(privacy={"mechanism": name} | COLLUDING))["round"]
    assert (promise.min_survivors, promise.min_honest) == (20, 16)
    cohort = Cohort(promise)
    opened = cohort.open(gone=4)
    assert len(opened.survivors) == 20 and (opened.values == cohort.total(opened.survivors)).all()
    with pytest.raises(ProtocolError):
        Cohort(promise).open(gone=5)


def test_devices_give_nothing_to_a_sum_that_would_be_opened_over_fewer_than_was_promised() -> None:
    cohort = Cohort(promises_of(settings(privacy=COLLUDING))["round"], opens_from=10)
    with pytest.raises(ProtocolError):
        cohort.open(gone=5)
    refusals = cohort.parties.refusals
    assert {address.number for address in refusals if address.role == "client"} == set(range(5, 24))
    assert all("would open a sum of 10 clients" in str(refusal) for refusal in refusals.values())


@NAMES
def test_events_count_the_noise_of_honest_survivors_only(tmp_path: Path, toy: Dataset, name: str) -> None:
    figures = play(tmp_path / "run", settings(privacy={"mechanism": name} | COLLUDING, **PLAIN), toy)["privacy"]
    events = Ledger(tmp_path / "run" / "ledger.jsonl").events()
    assert {getattr(event, "min_survivors", None) for event in events} == {16}
    assert (figures["min_survivors"], figures["min_honest"]) == (20, 16)
    assert central_epsilon(events, delta=DELTA).min_survivors == 16 and figures["central_epsilon"] <= 4.0
    all_honest = promises_of(settings(privacy={"mechanism": name, "surviving": 0.8, "epsilon": 4.0}))["round"]
    with_colluders = promises_of(settings(privacy={"mechanism": name} | COLLUDING))["round"]
    ratio = mechanism_of(with_colluders).client_sigma / mechanism_of(all_honest).client_sigma
    assert ratio == pytest.approx(np.sqrt(20 / 16), rel=0.05)


def test_nobody_s_noise_counting_is_refused() -> None:
    with pytest.raises(ConfigError, match="nobody's noise counts"):
        promises_of(settings(privacy={"surviving": 0.3, "colluding": 0.5}))


def test_rounds_in_which_the_server_sees_only_noise_go_on(
    tmp_path: Path, toy: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Devices answer a table once, so it must be another one each round."""
    monkeypatch.setattr("securerec.federation.step.wiener", lambda values, *rest, **named: np.zeros_like(values))
    config = settings(protocol={"protocol": "ckks"}, evaluation={"published": False})
    assert play(tmp_path / "run", config, toy)["kept_round"]["clean"] == 2
