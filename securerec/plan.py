"""What a run does with its budget where nobody has said: which releases, which shares, how the learner is set.

How much a sum of n clients' vectors of norm 1 tells against noise is n / z, z being the noise multiplier of a single
release at the run's epsilon; z in turn is about sqrt(2 ln(1 / delta)) / epsilon for small ones. A vector of norm 1 over
more items says less of each, so what counts is n / z for an item. Below FEW there is enough for a popularity, which the
heads read; above it for item rows as well; above MANY for a second release of them. Where the borders lie was chosen on
validation data of ML-100K and ML-1M, where on ML-1M at epsilon 1 both sides of FEW were alike.
"""

import math
from typing import Any

from securerec.errors import ConfigError
from securerec.models.neighbours import WIDTH, pair_width, sketched
from securerec.models.sketch import SKETCH_WIDTH, SUMS
from securerec.privacy.accounting.gaussian import gdp_mu

Settings = dict[str, Any]

PAPER: Settings = {"rounds": 100, "dim": 32, "score_lr": 0.1, "table_scale": 1.0, "function_scale": 1.0}
"""PFedRec as its paper's code has it; for runs without noise."""

NOISED: Settings = {"rounds": 40, "dim": 4, "score_lr": 2.0, "table_scale": 0.1, "function_scale": 0.0}
"""PFedRec alone under noise: fewer dimensions and rounds, a small start, faster score functions."""

AFTER_START: Settings = {"rounds": 2, "dim": 4, "score_lr": 0.1, "table_scale": 0.1, "function_scale": 0.0}
"""PFedRec's rounds after a warm start."""

UNNOISED_AFTER_START: Settings = AFTER_START | {"rounds": 2, "score_lr": 0.02, "item_lr_factor": 0.3}

ROUNDS_SHARE = 0.02
"""Weight of all rounds together beside the releases before them."""

ITEMS = 1682
FEW, MANY = 800.0, 2000.0
"""Clients over noise multiplier, for a catalogue of so many ITEMS."""

MOST_PAIR_VALUES = 2_000_000_000
"""Of all clients together for an item-item model through a protocol, where nobody has asked for it: some 2 GB of
uploads and minutes of encryption for each 10^9."""


def choose_plan(
    start: Settings, training: Settings, *, private: bool, signal: float, items: int, pairs: bool, may_head: bool = True
) -> tuple[Settings, Settings]:
    """The sections `start` and `training`, completed. `start` says whether there is a head. signal: of a sum, clients
    over noise multiplier; infinite without noise. items: in the catalogue. pairs: whether a release of all their pairs
    may be planned without being asked for. may_head: whether the learner goes with a head.

    Raises ConfigError where what was set does not go together.
    """
    if not start["head"]:
        alone = sorted(start.keys() & {"popularity_share", "segments", "segment_share", "pairs"})
        if alone:
            remedy = "add --head" if may_head else "leave it out, as a head does not go with this learner"
            raise ConfigError(f"start.{alone[0]} has no meaning without start.head: {remedy}")
        if training.get("rounds") == 0:
            raise ConfigError("training.rounds is 0 and start.head is off: nothing would be learnt")
        return start, (NOISED if private else PAPER) | training
    if "segments" not in start:
        per_item = signal * ITEMS / items
        widths = () if per_item < FEW else (16,) if per_item < MANY else (16, 32)
        if "dim" in training:
            widths = (training["dim"] - 1,) if widths and training["dim"] > 1 else ()
        start = start | {"segments": widths}
    segments = tuple(width for width in start["segments"] if width)
    if segments:
        dim = sum(1 + width for width in segments)
        if training.get("dim", dim) != dim:
            raise ConfigError(
                f"training.dim must be {dim}, one more than each number of start.segments, or be left out"
            )
        training = training | {"dim": dim}
    training = (AFTER_START if private else UNNOISED_AFTER_START) | training
    shares = _shares(start, rounds=training["rounds"], segments=bool(segments))
    start = start | {"pairs": _pairs(start.get("pairs"), private=private, items=items, may=pairs)}
    return start | {"segments": segments} | shares, training


def pair_values(items: int) -> int:
    """Values that a device sends for the item-item model of a catalogue, where nobody has set its width."""
    return SUMS * items * SKETCH_WIDTH if sketched(items) else items * pair_width(items)


def signal_of(
    users: int, *, epsilon: float | None, local_epsilon: float | None, noise_multiplier: float | None, delta: float,
    rounds: int | None,
) -> float:  # fmt: skip
    """Clients over the noise multiplier of a single release that has the whole budget; infinite without noise.

    noise_multiplier: of a round, of so many; what one of them would be with the budget of all.
    """
    if noise_multiplier is not None:
        return users / (noise_multiplier * math.sqrt(ROUNDS_SHARE / (rounds or AFTER_START["rounds"])))
    if local_epsilon is not None:
        # everybody's noise is in the sum, and the local relation is wider
        return math.sqrt(users) * gdp_mu(local_epsilon, delta) / math.sqrt(2)
    return math.inf if epsilon is None else users * gdp_mu(epsilon, delta)


def _pairs(given: int | None, *, private: bool, items: int, may: bool) -> int:
    """Directions of the item-item model, 0 for none."""
    if given and private:
        raise ConfigError(
            "start.pairs goes only with --no-privacy: noise drowns single pairs, and segments teach more for the same "
            "epsilon; leave it out"
        )
    if given is not None:
        return given
    if private or not may:
        return 0
    return SKETCH_WIDTH if sketched(items) else WIDTH


def _shares(start: Settings, *, rounds: int, segments: bool) -> Settings:
    """Of the budget; what the user has not set is in proportion to the weights here."""
    weights = {
        "popularity_share": 0.25,
        "segment_share": 0.7 if segments else 0.0,
        "rounds": ROUNDS_SHARE if rounds else 0.0,
    }
    given = {name: start[name] for name in weights if name in start}
    if not segments and given.get("segment_share"):
        raise ConfigError("start.segment_share has no meaning without start.segments")
    left = 1 - sum(given.values())
    chosen = {name: weight for name, weight in weights.items() if name not in given}
    total = sum(chosen.values())
    shares = given | {name: left * weight / total if total else 0.0 for name, weight in chosen.items()}
    if any(weights[name] and shares[name] <= 0 for name in weights):
        raise ConfigError("the shares of the privacy budget must leave something for every release: lower one of them")
    if not total and left > 1e-9:
        raise ConfigError("the shares of the privacy budget must add up to 1 where no rounds follow")
    return {name: share for name, share in shares.items() if name != "rounds"}
