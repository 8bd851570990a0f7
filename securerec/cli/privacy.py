"""`securerec privacy`: recount a run's epsilons from its ledger, plan a budget, say what a figure promises."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from securerec.cli.output import JsonFile, emit
from securerec.cli.privacy_tables import (
    READINGS,
    account_tables,
    calibration_tables,
    explanation,
    finite,
    pair_explanation,
)
from securerec.errors import PrivacyError
from securerec.privacy.accounting import (
    ACCOUNTANTS,
    Cost,
    Epsilon,
    central_epsilon,
    local_epsilon,
)
from securerec.privacy.calibration import Release, calibrate_local_mix, calibrate_mix
from securerec.privacy.event_json import kind_of
from securerec.privacy.events import DistributedGaussianSum, Event, InteractionSgd, SampledSum
from securerec.privacy.ledger import Ledger
from securerec.privacy.mechanism import client_sigma_for, rounded_sensitivity

app = typer.Typer(help="Recount epsilons, plan a budget, and explain what a figure promises.", no_args_is_help=True)

LedgerPath = Annotated[Path, typer.Argument(metavar="LEDGER", help="A run's folder, or a ledger.jsonl.")]
Delta = Annotated[float, typer.Option("--delta", metavar="D", help="Delta of every epsilon.")]
AccountantName = Annotated[
    str | None,
    typer.Option("--accountant", metavar="NAME", help=f"Only this one of {', '.join(ACCOUNTANTS)}."),
]


@app.command()
def account(
    ledger: LedgerPath, delta: Delta = 1e-5, accountant: AccountantName = None, json_file: JsonFile = None
) -> None:
    """Recount a run's epsilons from its ledger alone.

    Central and local figures stand apart, and so do the two units, one user and one interaction. Each accountant's
    figure is a bound of its own: the smallest of a row holds. An accountant that cannot count all of the ledger shows
    a dash.
    """
    events, chosen = _read(ledger), _accountants(accountant)
    figures: dict[str, Any] = {
        "ledger": str(ledger),
        "delta": delta,
        "events": len(events),
        "releases": [_release(group, delta) for group in _groups(events)],
        "totals": {name: _total(name, events, delta, chosen) for name in _relevant(events)},
    }
    emit(figures, json_file, *account_tables(figures, chosen))


@app.command()
def calibrate(
    epsilon: Annotated[float, typer.Option(metavar="E", help="The budget of all rounds together.")],
    rounds: Annotated[int, typer.Option(min=1, metavar="N", help="Sums of item-table updates.")] = 20,
    delta: Delta = 1e-5,
    local: Annotated[bool, typer.Option("--local", help="The budget is one client's, against who opens it.")] = False,
    clients: Annotated[int, typer.Option(min=1, metavar="N", help="Clients in a sum.")] = 943,
    surviving: Annotated[float, typer.Option(min=0.01, max=1, metavar="X", help="Share that a sum must have.")] = 0.9,
    colluding: Annotated[
        float, typer.Option(min=0, max=0.99, metavar="X", help="Share whose noise does not count.")
    ] = 0.0,
    items: Annotated[int, typer.Option(min=1, metavar="N", help="Items.")] = 1682,
    dim: Annotated[int, typer.Option(min=1, metavar="N", help="Length of an item row.")] = 8,
    grid_units: Annotated[int, typer.Option(min=10, metavar="N", help="Whole numbers to one clip norm.")] = 1000,
    popularity: Annotated[
        float, typer.Option(min=0, max=0.99, metavar="X", help="Share of the budget for one popularity histogram.")
    ] = 0.0,
    accountant: AccountantName = None,
    json_file: JsonFile = None,
) -> None:
    """Plan a budget: how much noise rounds need, by each accountant, and what each client then adds.

    The noise is sized for the clients that must survive, less those that may collude; the figures count what rounding
    to the grid adds to the norm, and the floor of two grid units a client. The smallest noise of the table suffices.
    """
    survivors = max(1, math.ceil(surviving * clients) - math.floor(colluding * clients))
    plan = [Release(rounded_sensitivity(grid_units, items * dim), items * dim, survivors, rounds, 1 - popularity)]
    names = ["round"]
    if popularity:
        plan.append(Release(rounded_sensitivity(grid_units, items), items, survivors, 1, popularity, nonnegative=True))
        names.append("popularity")
    rows = [_planned(plan, names, epsilon, delta, local, grid_units, name) for name in _accountants(accountant)]
    figures = {
        "epsilon": epsilon, "delta": delta, "budget": "local" if local else "central", "rounds": rounds,
        "clients": clients, "min_survivors": survivors, "grid_units": grid_units, "plans": rows,
    }  # fmt: skip
    if not any(row["releases"] for row in rows):
        raise PrivacyError(rows[0]["refused"])
    emit(figures, json_file, *calibration_tables(figures))


@app.command()
def explain(
    ledger: Annotated[
        Path | None, typer.Argument(metavar="[LEDGER]", help="A run's folder, or a ledger.jsonl.")
    ] = None,
    epsilon: Annotated[float | None, typer.Option(min=0, metavar="E", help="A figure on its own.")] = None,
    delta: Delta = 1e-5,
    json_file: JsonFile = None,
) -> None:
    """Say in plain words what a figure promises: to whom, against whom, how far an attacker gets, and what it does not
    promise.
    """
    if (ledger is None) == (epsilon is None):
        raise PrivacyError("name a LEDGER to explain, or a figure with --epsilon E and --delta D")
    if ledger is None:
        figures, words = pair_explanation(float(epsilon or 0.0), delta)
    else:
        figures, words = explanation(_read(ledger), _relevant(_read(ledger)), delta)
    emit(figures, json_file, *words)


def _read(path: Path) -> tuple[Event, ...]:
    file = path / "ledger.jsonl" if path.is_dir() else path
    if not file.is_file():
        raise PrivacyError(f"there is no ledger at {file}: name a run's folder or a ledger.jsonl")
    return Ledger(file).events()


def _accountants(chosen: str | None) -> tuple[str, ...]:
    if chosen is not None and chosen not in ACCOUNTANTS:
        raise PrivacyError(f"unknown accountant {chosen!r}; choose from {', '.join(ACCOUNTANTS)}")
    return ACCOUNTANTS if chosen is None else (chosen,)


def _relevant(events: Sequence[Event]) -> list[str]:
    """Central and local always; the others where the ledger has something of their kind."""
    names = ["central", "local"]
    if any(isinstance(event, SampledSum) for event in events):
        names.append("model")
    if any(isinstance(event, InteractionSgd) for event in events):
        names.append("interaction")
    return names


def _groups(events: Sequence[Event]) -> list[list[Event]]:
    """Events that differ in nothing but their label, in the order of their first."""
    groups: dict[tuple[Any, ...], list[Event]] = {}
    for event in events:
        key = (type(event), *(value for name, value in vars(event).items() if name != "label"))
        groups.setdefault(key, []).append(event)
    return list(groups.values())


def _release(group: Sequence[Event], delta: float) -> dict[str, Any]:
    first = group[0]
    inner = first.inner if isinstance(first, SampledSum) else first
    times = sum(event.count if isinstance(event, SampledSum) else 1 for event in group)
    return {
        "kind": kind_of(first),
        "labels": [first.label, group[-1].label],
        "count": times,
        "noise_multiplier": getattr(inner, "noise_multiplier", None),
        "min_survivors": getattr(inner, "min_survivors", None),
    } | {name: finite(_figure(name, group, delta, "gdp")) for name in _relevant(group)}


def _total(name: str, events: Sequence[Event], delta: float, accountants: Sequence[str]) -> dict[str, Any]:
    found = {accountant: _figure(name, events, delta, accountant) for accountant in accountants}
    shown = next((figure for figure in found.values() if figure is not None), None)
    if shown is None:
        raise PrivacyError(f"the accountant {accountants[0]} cannot count this ledger; use the accountant rdp")
    return {
        "unit": shown.unit,
        "relation": shown.relation,
        "against": shown.against,
        "min_survivors": shown.min_survivors,
        "noise_source": "seed" if shown.reproducible_noise else "os",
        "unbounded": math.isinf(shown.epsilon),
        "epsilon": {accountant: finite(figure) for accountant, figure in found.items()},
        "counted_by": {accountant: figure and figure.accountant for accountant, figure in found.items()},
    }


def _figure(name: str, events: Sequence[Event], delta: float, accountant: str) -> Epsilon | None:
    """None where the accountant cannot count."""
    figure, _ = READINGS[name]
    figure([], delta=delta, accountant=accountant)  # refuses a bad delta, which is no reason for a dash
    try:
        return figure(events, delta=delta, accountant=accountant)
    except PrivacyError:
        return None


def _planned(
    plan: Sequence[Release], names: Sequence[str], epsilon: float, delta: float, local: bool, grid_units: int, by: str
) -> dict[str, Any]:
    try:
        if local:
            sigmas = calibrate_local_mix(plan, epsilon=epsilon, delta=delta, accountant=by)
        else:
            multipliers = calibrate_mix(plan, epsilon=epsilon, delta=delta, accountant=by)
            sigmas = [
                client_sigma_for(z, release.sensitivity, release.min_survivors)
                for z, release in zip(multipliers, plan, strict=True)
            ]
    except PrivacyError as error:
        if by != "gdp" and 0 < epsilon < math.inf and 0 < delta < 1:
            return {"accountant": by, "releases": [], "refused": str(error)}
        raise
    events: list[Event] = []
    releases = []
    for name, release, sigma in zip(names, plan, sigmas, strict=True):
        event = DistributedGaussianSum(
            label=name, dimension=release.dimension, clip_norm=1.0, grid_units=grid_units,
            sensitivity=release.sensitivity, client_sigma=sigma, min_survivors=release.min_survivors,
            noise_source="os", nonnegative=release.nonnegative,
        )  # fmt: skip
        events += [event] * release.count
        releases.append(
            {
                "release": name, "count": release.count, "noise_multiplier": event.noise_multiplier,
                "client_sigma": sigma, "client_noise_in_clip_norms": sigma / grid_units,
                "local_noise_multiplier": Cost.local(
                    sensitivity=release.sensitivity, client_sigma=sigma, nonnegative=release.nonnegative
                ).noise_multiplier,
            }
        )  # fmt: skip
    return {
        "accountant": by,
        "releases": releases,
        "central_epsilon": finite(central_epsilon(events, delta=delta)),
        "local_epsilon": finite(local_epsilon(events, delta=delta)),
    }
