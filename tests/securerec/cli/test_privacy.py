import dataclasses
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from securerec.privacy.accounting import central_epsilon, interaction_epsilon, local_epsilon, model_epsilon
from securerec.privacy.events import (
    DistributedGaussianSum,
    DistributedLaplaceSum,
    Event,
    GaussianSum,
    InteractionSgd,
    SampledSum,
    Unprotected,
)
from securerec.privacy.ledger import Ledger

Securerec = Callable[..., subprocess.CompletedProcess[str]]
ROUND = DistributedGaussianSum(
    label="round 1", dimension=13_456, clip_norm=1.0, grid_units=1000, sensitivity=1002.2, client_sigma=200.0,
    min_survivors=849, noise_source="os", nonnegative=False,
)  # fmt: skip
ROUNDS: list[Event] = [dataclasses.replace(ROUND, label=f"round {i}") for i in range(1, 21)]
LAPLACE = DistributedLaplaceSum("histogram", 1682, 1.0, 1000, 1000.0, 60_000.0, 849, "os")
SAMPLED = SampledSum("sampled rounds", GaussianSum("inner", 4.0, "seed"), "poisson", 0.1, 20)
SGD = InteractionSgd("device", 0.1, 1.5, 100, 1.0, "os")


@pytest.fixture
def ledger(tmp_path: Path) -> Callable[..., Path]:
    def write(*events: Event) -> Path:
        for event in events:
            Ledger(tmp_path / "run" / "ledger.jsonl").append(event)
        return tmp_path / "run"

    return write


def figures_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def test_a_runs_epsilons_are_recounted_from_its_ledger_alone(ledger: Callable[..., Path], securerec: Securerec) -> None:
    popularity = dataclasses.replace(ROUND, label="popularity", dimension=1682, nonnegative=True)
    events = [popularity, *ROUNDS]
    run = ledger(*events)
    done = securerec("privacy", "account", run, "--json", "-")
    figures = figures_of(done)
    assert [release["labels"] for release in figures["releases"]] == [["popularity"] * 2, ["round 1", "round 20"]]
    assert [release["count"] for release in figures["releases"]] == [1, 20]
    totals = figures["totals"]
    assert set(totals) == {"central", "local"}
    for accountant in ("gdp", "rdp", "prv", "pld"):
        expected = central_epsilon(events, delta=1e-5, accountant=accountant).epsilon
        assert totals["central"]["epsilon"][accountant] == expected
    assert totals["local"]["epsilon"]["gdp"] == local_epsilon(events, delta=1e-5).epsilon
    assert totals["local"]["epsilon"]["prv"] is None  # a dash: it cannot count so little noise
    assert totals["central"]["min_survivors"] == 849 and totals["central"]["noise_source"] == "os"
    assert "central (unit: user)" in done.stderr and "round 20" in done.stderr
    again = securerec("privacy", "account", run / "ledger.jsonl", "--json", "-", "--accountant", "gdp")
    assert figures_of(again)["totals"]["central"]["epsilon"] == {"gdp": totals["central"]["epsilon"]["gdp"]}


def test_units_and_adversaries_stand_apart(ledger: Callable[..., Path], securerec: Securerec) -> None:
    run = ledger(SAMPLED, SGD, LAPLACE)
    totals = figures_of(securerec("privacy", "account", run, "--json", "-", "--accountant", "rdp"))["totals"]
    assert set(totals) == {"central", "local", "model", "interaction"}
    assert totals["central"]["unbounded"] and totals["model"]["unbounded"] and totals["local"]["unbounded"]
    assert totals["central"]["epsilon"] == {"rdp": None}
    expected = interaction_epsilon([SAMPLED, SGD, LAPLACE], delta=1e-5, accountant="rdp").epsilon
    assert totals["interaction"]["epsilon"]["rdp"] == expected
    assert totals["interaction"]["unit"] == "interaction" and totals["central"]["unit"] == "user"


def test_a_figure_names_the_accountant_that_counted_and_a_seeded_run_says_so(
    ledger: Callable[..., Path], securerec: Securerec
) -> None:
    done = securerec("privacy", "account", ledger(SAMPLED, LAPLACE), "--json", "-", "--delta", "1e-6")
    totals = figures_of(done)["totals"]
    assert totals["model"]["counted_by"]["gdp"] == "rdp"
    assert totals["model"]["epsilon"]["gdp"] == model_epsilon([SAMPLED, LAPLACE], delta=1e-6).epsilon
    assert totals["model"]["epsilon"]["prv"] is None
    assert "(rdp)" in done.stderr and "simulation only" in done.stderr


def test_an_unprotected_release_makes_every_total_infinite(ledger: Callable[..., Path], securerec: Securerec) -> None:
    run = ledger(ROUND, Unprotected("round 2"))
    done = securerec("privacy", "account", run, "--accountant", "gdp")
    assert done.stdout.count("infinite") == 4  # its own row's two, and both totals
    words = " ".join(securerec("privacy", "explain", run).stdout.split())
    assert "Central epsilon infinite" in words and "nothing is promised to one person" in words


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("account", "{folder}/none"), "there is no ledger at"),
        (("account", "{folder}"), "there is no ledger at"),
        (("account", "{folder}/bad.jsonl"), "bad.jsonl line 1: unknown kind of event 'tea'"),
        (("account", "{folder}/run", "--delta", "0"), "delta must lie between 0 and 1"),
        (("account", "{folder}/run", "--accountant", "moments"), "choose from gdp, rdp, prv, pld"),
        (("calibrate", "--epsilon", "0"), "epsilon must be positive and finite"),
        (("calibrate", "--epsilon", "1", "--delta", "2"), "delta must lie between 0 and 1"),
        (("calibrate", "--epsilon", "1", "--accountant", "x"), "unknown accountant 'x'"),
        (("calibrate", "--epsilon", "0.0005", "--accountant", "prv"), "cannot count|no noise reaches"),
        (("explain",), "name a LEDGER to explain, or a figure"),
        (("explain", "{folder}/run", "--epsilon", "1"), "name a LEDGER to explain, or a figure"),
        (("explain", "--epsilon", "0"), "epsilon must be positive"),
        (("explain", "--epsilon", "1", "--delta", "1"), "delta lie in"),
    ],
)
def test_a_wrong_use_is_one_line_and_code_six(
    arguments: tuple[str, ...], message: str, tmp_path: Path, ledger: Callable[..., Path], securerec: Securerec
) -> None:
    ledger(ROUND)
    (tmp_path / "bad.jsonl").write_text('{"kind": "tea"}\n')
    done = securerec("privacy", *(part.format(folder=tmp_path) for part in arguments), code=6)
    assert done.stderr.count("\n") == 1 and done.stdout == ""
    assert any(part in done.stderr for part in message.split("|"))


def test_a_planned_budget_is_kept_and_says_what_each_client_adds(securerec: Securerec) -> None:
    done = securerec(
        "privacy", "calibrate", "--epsilon", "4", "--rounds", "20", "--clients", "943", "--surviving", "0.9",
        "--popularity", "0.3", "--json", "-",
    )  # fmt: skip
    figures = figures_of(done)
    assert figures["min_survivors"] == 849
    plans = {plan["accountant"]: plan for plan in figures["plans"]}
    assert set(plans) == {"gdp", "rdp", "prv", "pld"}
    assert 3.999 < plans["gdp"]["central_epsilon"] <= 4.0
    for plan in plans.values():
        rounds, popularity = plan["releases"]
        assert plan["central_epsilon"] <= 4.0
        assert rounds["noise_multiplier"] == pytest.approx(plans["gdp"]["releases"][0]["noise_multiplier"], rel=0.1)
        assert popularity["count"] == 1 and rounds["count"] == 20
        # 30% of the budget: 1 / z^2 of the histogram is 3/7 of 20 / z^2 of the rounds
        share = popularity["noise_multiplier"] ** -2 / (20 * rounds["noise_multiplier"] ** -2)
        assert share == pytest.approx(3 / 7, rel=1e-6)
        assert rounds["client_noise_in_clip_norms"] == pytest.approx(rounds["client_sigma"] / 1000)
    assert "849 honest survivors of 943 clients" in done.stderr


def test_noise_of_colluding_clients_does_not_count(securerec: Securerec) -> None:
    honest, fewer = (
        figures_of(securerec("privacy", "calibrate", "--epsilon", "1", "--accountant", "gdp", "--json", "-", *more))
        for more in ((), ("--colluding", "0.3"))
    )
    assert (honest["min_survivors"], fewer["min_survivors"]) == (849, 567)  # 943 * 0.3 = 282.9: 282 of them
    ratio = fewer["plans"][0]["releases"][0]["client_sigma"] / honest["plans"][0]["releases"][0]["client_sigma"]
    assert ratio == pytest.approx((849 / 567) ** 0.5, rel=1e-3)


def test_a_local_budget_is_kept_too(securerec: Securerec) -> None:
    arguments = ("--epsilon", "8", "--local", "--rounds", "1", "--accountant", "gdp", "--json", "-")
    figures = figures_of(securerec("privacy", "calibrate", *arguments))
    plan = figures["plans"][0]
    assert 7.999 < plan["local_epsilon"] <= 8.0 and plan["central_epsilon"] < 0.5
    assert plan["releases"][0]["local_noise_multiplier"] == pytest.approx(0.6002, abs=1e-3)


def test_an_accountant_that_cannot_plan_shows_a_dash_and_why(securerec: Securerec) -> None:
    done = securerec("privacy", "calibrate", "--local", "--epsilon", "3000", "--json", "-")
    plans = {plan["accountant"]: plan for plan in figures_of(done)["plans"]}
    assert plans["gdp"]["releases"] and not plans["prv"]["releases"]
    assert "prv: " in done.stderr


def test_a_figure_alone_is_explained_with_what_the_best_test_reaches(securerec: Securerec) -> None:
    done = securerec("privacy", "explain", "--epsilon", "1", "--delta", "1e-5", "--json", "-")
    figures = figures_of(done)
    assert figures["mu"] == pytest.approx(1 / 3.7306, rel=1e-3)
    assert figures["reached_if_gaussian"]["0.01"] == pytest.approx(0.0197, abs=1e-3)  # Phi(-2.326 + 0.268)
    assert figures["reached_at_most"]["0.01"] == pytest.approx(0.01 * 2.71828 + 1e-5, rel=1e-4)
    assert "e^1 = 2.72 times" in " ".join(done.stderr.split()) and "Not promised" in done.stderr


def test_a_ledger_is_explained_in_words(ledger: Callable[..., Path], securerec: Securerec) -> None:
    done = securerec("privacy", "explain", ledger(*ROUNDS), "--json", "-")
    figures, words = figures_of(done)["figures"], " ".join(done.stderr.split())
    assert set(figures) == {"central", "local"}
    mu = 20**0.5 / ROUND.noise_multiplier
    assert figures["central"]["mu"] == pytest.approx(mu, rel=1e-4)
    assert 0.01 < figures["central"]["reached_at_most"]["0.01"] < 0.1 < figures["local"]["reached_at_most"]["0.01"]
    for part in ("Protected: one person, whole", "whoever sees the sums", "849 honest clients", "hardly a protection"):
        assert part in words


def test_a_mixed_ledger_is_explained_by_its_curve_of_epsilon_and_delta(
    ledger: Callable[..., Path], securerec: Securerec
) -> None:
    figures = figures_of(securerec("privacy", "explain", ledger(ROUND, LAPLACE, SGD), "--json", "-"))["figures"]
    assert figures["central"]["unbounded"] and figures["central"]["reached_at_most"]["0.01"] == 1.0
    assert figures["interaction"]["mu"] is None
    assert 0.01 < figures["interaction"]["reached_at_most"]["0.01"] < 1.0
