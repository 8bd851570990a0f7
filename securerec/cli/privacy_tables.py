"""Tables and words of `securerec privacy`."""

import math
from collections.abc import Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from securerec.errors import PrivacyError
from securerec.privacy.accounting import (
    Cost,
    Epsilon,
    central_epsilon,
    interaction_epsilon,
    local_epsilon,
    model_epsilon,
)
from securerec.privacy.accounting.accountants import Gaussian, composed_gaussian
from securerec.privacy.accounting.figures import (
    central_losses,
    interaction_losses,
    local_losses,
    model_losses,
    total_losses,
)
from securerec.privacy.accounting.gaussian import gdp_mu
from securerec.privacy.accounting.tradeoff import of_gaussian, of_pairs
from securerec.privacy.events import Event

RATES = (0.001, 0.01, 0.1)
DELTAS = tuple(10.0**-power for power in range(1, 13))
READINGS = {
    "central": (central_epsilon, central_losses), "local": (local_epsilon, local_losses),
    "model": (model_epsilon, model_losses), "interaction": (interaction_epsilon, interaction_losses),
}  # fmt: skip
_TITLES = {"central": "central", "local": "local", "model": "model only", "interaction": "one interaction"}
_NOT_PROMISED = (
    "what follows from facts about everybody: a guarantee limits what one's own data adds, not what statistics say of "
    "people like oneself",
    "anything chosen from users' data beside the ledger: settings tuned on them, figures shown in an experiment",
    "that noise, keys and programs are as the ledger says: the ledger is the run's own record",
)


def finite(figure: Epsilon | None) -> float | None:
    """Its epsilon, None where there is none or it is infinite."""
    return None if figure is None or math.isinf(figure.epsilon) else figure.epsilon


def account_tables(figures: dict[str, Any], accountants: Sequence[str]) -> list[RenderableType]:
    """Kinds of release, then totals by accountant."""
    names = list(figures["totals"])
    kinds = Table(title=f"Releases in {figures['ledger']}", title_justify="left")
    for heading in (
        "release",
        "times",
        "noise multiplier",
        "survivors",
        *(f"{_TITLES[name]} epsilon" for name in names),
    ):
        kinds.add_column(heading, justify="left" if heading == "release" else "right")
    for release in figures["releases"]:
        first, last = release["labels"]
        label = first if first == last else f"{first} ... {last}"
        kinds.add_row(
            Text(f"{label} ({_kind(release['kind'])})"), f"{release['count']:,}",
            _number(release["noise_multiplier"]), _number(release["min_survivors"]),
            *(_number(release[name], missing="infinite") if name in release else "-" for name in names),
        )  # fmt: skip
    totals = Table(title=f"Total epsilon at delta {figures['delta']:g}", title_justify="left")
    totals.add_column("figure")
    for accountant in accountants:
        totals.add_column(accountant, justify="right")
    for name, total in figures["totals"].items():
        cells = [_cell(total, accountant) for accountant in accountants]
        totals.add_row(f"{_TITLES[name]} (unit: {total['unit']})", *cells)
    lines = [
        f"{_TITLES[name]}: against {total['against']}; {total['relation']}."
        + (f" Noise sized for {total['min_survivors']} honest clients." if total["min_survivors"] else "")
        for name, total in figures["totals"].items()
    ]
    if any(total["noise_source"] == "seed" for total in figures["totals"].values()):
        lines.append("Some noise grew from a seed: these figures hold in simulation only.")
    return [kinds, totals, Text("\n".join(lines), style="dim")]


def _cell(total: dict[str, Any], accountant: str) -> str:
    if total["unbounded"]:
        return "infinite"
    counted = total["counted_by"][accountant]
    text = _number(total["epsilon"][accountant])
    return text if counted in (None, accountant) else f"{text} ({counted})"


def _kind(name: str) -> str:
    return name.removeprefix("distributed_").removesuffix("_sum").replace("_", " ")


def _number(value: float | None, missing: str = "-") -> str:
    if value is None:
        return missing
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"


def calibration_tables(figures: dict[str, Any]) -> list[RenderableType]:
    """One row for each accountant and kind of release."""
    title = f"Noise for {figures['budget']} epsilon {figures['epsilon']:g} at delta {figures['delta']:g}"
    table = Table(title=title, title_justify="left")
    for heading in ("accountant", "release", "times", "noise multiplier", "client adds", "central", "local"):
        table.add_column(heading, justify="left" if heading in ("accountant", "release") else "right")
    for plan in figures["plans"]:
        if not plan["releases"]:
            table.add_row(plan["accountant"], "-", "-", "-", "-", "-", "-")
        for i, release in enumerate(plan["releases"]):
            both = (plan["central_epsilon"], plan["local_epsilon"])
            table.add_row(
                "" if i else plan["accountant"], release["release"], f"{release['count']:,}",
                f"{release['noise_multiplier']:.4f}",
                f"{release['client_sigma']:,.2f} ({release['client_noise_in_clip_norms']:.4f})",
                *("" if i else _number(value, missing="infinite") for value in both),
            )  # fmt: skip
    lines = [
        f"Sized for {figures['min_survivors']:,} honest survivors of {figures['clients']:,} clients. "
        "'client adds' is the deviation of its noise on every value, in grid units (in clip norms); 'central' and "
        "'local' are what the row's noise costs by the accountant gdp.",
        *(f"{plan['accountant']}: {plan['refused']}" for plan in figures["plans"] if not plan["releases"]),
    ]
    return [table, Text("\n".join(lines), style="dim")]


def pair_explanation(epsilon: float, delta: float) -> tuple[dict[str, Any], list[RenderableType]]:
    """A figure without a ledger. Raises PrivacyError for a bad one."""
    if not 0 < epsilon < math.inf or not 0 < delta < 1:
        raise PrivacyError(f"epsilon must be positive and finite and delta lie in (0, 1), not {epsilon} and {delta}")
    mu = gdp_mu(epsilon, delta)
    pair, curve = _reached(None, [(epsilon, delta)]), _reached(Gaussian(mu, 0.0), [])
    figures = {"epsilon": epsilon, "delta": delta, "mu": mu, "reached_at_most": pair, "reached_if_gaussian": curve}
    table = _test_table({"any mechanism": pair, "Gaussian noise": curve})
    words = Text(
        f"Epsilon {epsilon:g} at delta {delta:g}: whatever anybody concludes from what was released, the chance of "
        f"that conclusion is at most e^{epsilon:g} = {_times(epsilon)} times what it is with the neighbouring input, "
        f"plus {delta:g}. A figure says nothing without its unit (one person or one interaction), the neighbouring "
        "inputs it compares and whom it speaks against: `securerec privacy explain RUN` tells a run's."
    )
    return figures, [words, table, _bullets()]


def explanation(
    events: Sequence[Event], names: Sequence[str], delta: float
) -> tuple[dict[str, Any], list[RenderableType]]:
    """Each figure of a ledger in words, and how far the best attack gets against it."""
    figures: dict[str, Any] = {"delta": delta, "figures": {}}
    parts: list[RenderableType] = []
    for name in names:
        figure, losses_of = READINGS[name]
        found = figure(events, delta=delta)
        losses = total_losses(events, losses_of, delta)
        whole = None
        gaussians = {loss: n for loss, n in (losses or {}).items() if isinstance(loss, Cost)}
        if losses is not None and len(gaussians) == len(losses):
            whole = composed_gaussian(gaussians, log_delta=math.log(delta))
        pairs = [] if whole is not None else [(figure(events, delta=d).epsilon, d) for d in DELTAS]
        reached = _reached(whole, pairs)
        figures["figures"][name] = {
            "epsilon": finite(found), "unbounded": math.isinf(found.epsilon), "unit": found.unit,
            "relation": found.relation, "against": found.against, "accountant": found.accountant,
            "noise_source": "seed" if found.reproducible_noise else "os", "min_survivors": found.min_survivors,
            "mu": whole.mu if whole is not None and math.isfinite(whole.mu) else None, "reached_at_most": reached,
        }  # fmt: skip
        parts.append(Text(_in_words(name, found)))
        if not math.isinf(found.epsilon):
            parts.append(_test_table({_TITLES[name]: reached}))
    return figures, [*parts, _bullets()]


def _in_words(name: str, figure: Epsilon) -> str:
    who = "one person, whole" if figure.unit == "user" else "one interaction of one person, not the person"
    lead = f"{_TITLES[name].capitalize()} epsilon "
    if math.isinf(figure.epsilon):
        return (
            f"{lead}infinite: against {figure.against} nothing is promised to {who}. Something was released without "
            "noise that counts there, or with noise that protects another unit."
        )
    words = (
        f"{lead}{_number(figure.epsilon)} at delta {figure.delta:g} (accountant {figure.accountant}). "
        f"Protected: {who}. Against: {figure.against}. Compared: {figure.relation}. Whatever is concluded from what "
        f"was released, the chance of that conclusion with the one input is at most e^{figure.epsilon:.3g} = "
        f"{_times(figure.epsilon)} times what it is with the other, plus {figure.delta:g}."
    )
    if figure.min_survivors is not None:
        words += (
            f" It needs the noise of {figure.min_survivors:,} honest clients in every sum, and that nobody sees less "
            "than a sum."
        )
    if figure.reproducible_noise:
        words += " The noise grew from a seed: whoever can guess it can take it away, so this holds in simulation only."
    if of_no_use(figure.epsilon):
        words += " At this size it is a number and hardly a protection: the noise hides little of any one input."
    return words


def of_no_use(epsilon: float) -> bool:
    """Beyond 20, the bound on an attacker's test at a false positive rate of a millionth is close to one."""
    return epsilon > 20


def _times(epsilon: float) -> str:
    return f"{math.exp(epsilon):,.3g}" if epsilon < 50 else f"10^{epsilon / math.log(10):,.0f}"


def _reached(whole: Gaussian | None, pairs: Sequence[tuple[float, float]]) -> dict[str, float]:
    return {f"{rate:g}": of_pairs(pairs, rate) if whole is None else of_gaussian(whole, rate) for rate in RATES}


def _test_table(columns: dict[str, dict[str, float]]) -> Table:
    table = Table(
        title="The best test of 'was it this input?', told everything else", title_justify="left",
        caption="A guess without looking catches as many as it accuses wrongly.", caption_justify="left",
    )  # fmt: skip
    table.add_column("wrongly accused", justify="right")
    for name in columns:
        table.add_column(f"rightly caught, at most ({name})", justify="right")
    for rate in RATES:
        table.add_row(f"{rate:.1%}", *(f"{column[f'{rate:g}']:.2%}" for column in columns.values()))
    return table


def _bullets() -> Text:
    return Text("Not promised:\n" + "\n".join(f"- {line}" for line in _NOT_PROMISED), style="dim")
