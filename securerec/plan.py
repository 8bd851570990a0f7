"""What a run does with its budget where nobody has said: which releases, which shares, how the learner is set."""

from typing import Any

from securerec.errors import ConfigError

Settings = dict[str, Any]

PAPER: Settings = {"rounds": 100, "dim": 32, "score_lr": 0.1, "table_scale": 1.0, "function_scale": 1.0}
"""PFedRec as its paper's code has it; for runs without noise."""

NOISED: Settings = {"rounds": 40, "dim": 4, "score_lr": 2.0, "table_scale": 0.1, "function_scale": 0.0}
"""PFedRec alone under noise: fewer dimensions and rounds, a small start, faster score functions."""

AFTER_START: Settings = {"rounds": 2, "dim": 4, "score_lr": 0.1, "table_scale": 0.1, "function_scale": 0.0}
"""PFedRec's rounds after a warm start."""


def choose_plan(
    start: Settings, training: Settings, *, private: bool, local: bool, users: int
) -> tuple[Settings, Settings]:
    """The sections `start` and `training`, completed for a cohort of that many users. `start` says whether there is a
    head.

    Raises ConfigError where what was set does not go together.
    """
    if not start["head"]:
        alone = sorted(start.keys() & {"popularity_share", "segments", "segment_share"})
        if alone:
            raise ConfigError(f"start.{alone[0]} has no meaning without start.head: add --head")
        if training.get("rounds") == 0:
            raise ConfigError("training.rounds is 0 and start.head is off: nothing would be learnt")
        return start, (NOISED if private else PAPER) | training
    segments = 0 if local else training.get("dim", 17) - 1
    start = {"segments": segments} | start
    if start["segments"]:
        dim = 1 + start["segments"]
        if training.get("dim", dim) != dim:
            raise ConfigError(f"training.dim must be {dim}, one more than start.segments, or be left out")
        training = training | {"dim": dim}
    training = AFTER_START | training
    return start | _shares(start, rounds=training["rounds"], segments=start["segments"]), training


def _shares(start: Settings, *, rounds: int, segments: int) -> Settings:
    """Of the budget; what the user has not set is in proportion to the weights here."""
    weights = {"popularity_share": 0.55, "segment_share": 0.4 if segments else 0.0, "rounds": 0.05 if rounds else 0.0}
    given = {name: start[name] for name in weights if name in start}
    left = 1 - sum(given.values())
    open_weights = {name: weight for name, weight in weights.items() if name not in given}
    total = sum(open_weights.values())
    shares = given | {name: left * weight / total if total else 0.0 for name, weight in open_weights.items()}
    if not segments and given.get("segment_share"):
        raise ConfigError("start.segment_share has no meaning without start.segments")
    needed = {"popularity_share"} | ({"segment_share"} if segments else set()) | ({"rounds"} if rounds else set())
    if any(shares[name] <= 0 for name in needed):
        raise ConfigError("the shares of the privacy budget must leave something for every release: lower one of them")
    if not rounds and left > 1e-9 and not open_weights.keys() - {"rounds"}:
        raise ConfigError("the shares of the privacy budget must add up to 1 where no rounds follow")
    return {name: share for name, share in shares.items() if name != "rounds"}
