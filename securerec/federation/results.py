"""A finished run's figures: the kept round trained once more, evaluated under every protocol, baselines beside it."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from securerec.config import Config
from securerec.data.interactions import Interactions
from securerec.errors import RunError
from securerec.evaluation.baselines import ials_scorer, popularity_scorer
from securerec.evaluation.local_only import local_only_scores
from securerec.evaluation.protocols import Ranks, Scorer, full_ranks, sampled_ranks
from securerec.evaluation.scoring import TrainedDevices, chosen_shares
from securerec.federation.devices_file import dump_devices, read_devices
from securerec.federation.folder import RunFolder
from securerec.federation.pool import DevicePool
from securerec.federation.promise import planned
from securerec.federation.run import Finished, Observer, Recorder, Run
from securerec.federation.stored import read_arrays
from securerec.federation.track import Track, TrackState
from securerec.models.head import NO_INPUTS, Head, Heads
from securerec.models.pfedrec import PFedRec
from securerec.models.scorers import ScoreFunctions
from securerec.privacy.accounting import Epsilon, central_epsilon, local_epsilon
from securerec.privacy.events import Event
from securerec.privacy.mechanism import Mechanism

LOCAL_ONLY_ROUNDS = 50
IALS_ITERATIONS = 15
PROTOCOLS = ("published", "clean", "full")
LAST = "last"
"""In `model.safetensors`: the shared matrix after the last round, where an earlier round's is kept."""


def execute(run: Run, workers: int, observe: Observer, record: Recorder | None = None) -> dict[str, Any]:
    """Play the rounds that are missing, conclude, and return the figures. Raises RunError when another process is at
    it.
    """
    with run.folder.locked():
        with DevicePool(workers) as pool:
            tracks = run.tracks(pool, record)
            finished = run.play(tracks, observe, record)
        started = time.perf_counter()
        results = conclude(run, finished, tracks)
        spent = time.perf_counter() - started
        seconds = run.folder.seconds()
        run.folder.write_seconds(seconds | {"conclude": spent, "total": seconds.get("total", 0.0) + spent})
        return results


def conclude(run: Run, finished: Finished, tracks: dict[str, Track]) -> dict[str, Any]:
    """Evaluate the kept models, write the model, the devices' states and `results.json`; return the figures.

    Everything is a function of the run's folder and its data, so a run that is interrupted here ends the same.
    """
    devices = {rule: trained_devices(tracks[rule], state) for rule, state in finished.states.items()}
    clean = devices["clean"]
    kept_rounds = {rule: state.kept.round_number for rule, state in finished.states.items()}
    shares = _shares(run, clean)
    scorings = {protocol: _scorings(run, protocol, clean, shares) for protocol in ("clean", "full")}
    if "published" in devices:
        twin = devices["published"]
        scorings["published"] = _scorings(run, "published", twin, _shares(run, twin))
    scoring, training = run.config.evaluation.scoring or "server", run.config.training
    headline = {"published": "own" if training.dual else "server", "clean": scoring, "full": scoring}
    results = {
        "dataset": run.dataset.name,
        "model": training.model,
        "dual": training.dual,
        "rounds": run.rounds,
        "kept_round": {"published": kept_rounds.get("published"), "clean": kept_rounds["clean"]},
        "cohort": run.cohort,
        "seed": run.config.seed,
        "metrics": {
            protocol: scorings[protocol][headline[protocol]]["metrics"] if protocol in scorings else None
            for protocol in PROTOCOLS
        },
        "scoring": headline,
        "scorings": {protocol: scorings[protocol] for protocol in PROTOCOLS if protocol in scorings},
        "own_share": {str(share): float((shares == share).mean()) for share in np.unique(shares)},
        "baselines": baselines(run),
        "local_only_rounds": LOCAL_ONLY_ROUNDS,
        "candidates": int((run.candidates.test[:, 1:] >= 0).sum(axis=1).max()),
        "tie_rule": run.dataset.tie_rule,
        "privacy": privacy_figures(run),
        "continues": run.continues(),
        "protocol": run.config.protocol.protocol,
        "uploads": [
            {"release": name, "count": run.rounds if name == "round" else 1, "bytes": size}
            for name, size in finished.upload_bytes.items()
        ],
        "saturated": finished.saturated,
    }
    n_items = run.dataset.interactions.n_items
    shared = {"item_table": clean.table[:n_items], "network": clean.table[n_items:]}
    if kept_rounds["clean"] != run.rounds:
        # what nobody was sent, where the kept table was: rounds to come go on from it
        shared[LAST] = finished.states["clean"].table
    run.folder.finish(
        results,
        {name: rows for name, rows in shared.items() if len(rows)}
        | {"base": clean.heads.head.base, "directions": clean.heads.head.directions}
        | ({"inputs": clean.heads.head.inputs} if clean.heads.head.inputs.size else {}),
        dump_devices(
            {
                "tastes": clean.heads.tastes, "weights": clean.functions.weights, "biases": clean.functions.biases,
                "broadcast": clean.broadcast, "own_share": shares,
            },
            clean.changes, clean.learner.dim,
        ),
    )  # fmt: skip
    return results


def utility(run: Run, finished: Finished, tracks: dict[str, Track]) -> dict[str, Any]:
    """Clean ranking by the server's table, metrics and intervals as in `conclude`, and popularity's beside it."""
    devices = trained_devices(tracks["clean"], finished.states["clean"])
    popularity = _figures(run, "clean", popularity_scorer(run.split.train))
    return {"server": _figures(run, "clean", devices.scorer(0.0)), "popularity": popularity}


def trained_devices(track: Track, state: TrackState) -> TrainedDevices:
    """What devices and server held after the kept round."""
    kept = state.kept
    functions, changes = track.replay(kept)
    return TrainedDevices(track.trainer.model, kept.table, kept.broadcast, functions, track.trainer.heads, changes)


def load_devices(folder: RunFolder) -> tuple[TrainedDevices, NDArray[np.float32]]:
    """A finished run's devices, and each one's chosen share of its own view (n_users,). What they changed stays in its
    file, and is read when it is asked for.
    """
    model, _ = read_arrays(folder.path / "model.safetensors")
    state, changes = read_devices(folder.devices / "state.safetensors")
    try:
        functions = ScoreFunctions(state["weights"], state["biases"])
        head = Head(model["base"], model["directions"], model.get("inputs", NO_INPUTS))
        table = np.concatenate([model["item_table"], model["network"]]) if "network" in model else model["item_table"]
        devices = TrainedDevices(
            folder.config().training.learner(), table, state["broadcast"], functions, Heads(head, state["tastes"]),
            changes,
        )  # fmt: skip
        return devices, state["own_share"]
    except KeyError as error:
        raise RunError(f"{folder.path} lacks the array {error}: the run's files are damaged") from None


def _shares(run: Run, devices: TrainedDevices) -> NDArray[np.float32]:
    """How much of its own view each device takes, (n_users,): its choice, or nothing without dual personalisation."""
    if run.config.training.dual:
        return chosen_shares(devices, run.split)
    return np.zeros(len(devices.functions.biases), np.float32)


def _scorings(run: Run, protocol: str, devices: TrainedDevices, chosen: NDArray[np.float32]) -> dict[str, Any]:
    shares: dict[str, float | NDArray[np.float32]] = {"own": 1.0, "server": 0.0, "device": chosen}
    scorings = {name: _figures(run, protocol, devices.scorer(share)) for name, share in shares.items()}
    # of its own start, or of that of the run which it continues
    if devices.heads.head.directions.shape[1]:
        scorings["head"] = _figures(run, protocol, devices.heads.logits)
    return scorings


def _figures(run: Run, protocol: str, scorer: Scorer) -> dict[str, Any]:
    intervals = _ranks(run, protocol, scorer).intervals(run.config.evaluation.cutoffs)
    return {
        "metrics": {name: interval.mean for name, interval in intervals.items()},
        "intervals": {name: [interval.low, interval.high] for name, interval in intervals.items()},
    }


def _ranks(run: Run, protocol: str, scorer: Scorer, users: NDArray[np.int64] | None = None) -> Ranks:
    """Of the users that have a test item; only of some, where they are named."""

    def some(held_out: NDArray[np.int32]) -> NDArray[np.int32]:
        if users is None:
            return held_out
        theirs = np.full_like(held_out, -1)
        theirs[users] = held_out[users]
        return theirs

    if protocol == "full":
        return full_ranks(scorer, replace(run.split, test=some(run.split.test)))
    return sampled_ranks(scorer, some(run.candidates.test))


def _known(users: NDArray[np.int64], scores: NDArray[np.float32]) -> Scorer:
    """Of consecutive users whose scores (m, n_items) are there."""
    return lambda wanted: scores[wanted - users[0]]


def _local_only(run: Run, never_negative: Interactions, protocols: Sequence[str]) -> dict[str, dict[str, float]]:
    """Metrics of the paper's learner without a federation, by protocol; each user's scores are let go of once they were
    ranked.
    """
    rng = np.random.default_rng(run.config.data.candidates_seed)
    parts: dict[str, list[Ranks]] = {protocol: [] for protocol in protocols}
    for users, scores in local_only_scores(
        run.split.train, never_negative, PFedRec(), rounds=LOCAL_ONLY_ROUNDS, rng=rng
    ):
        for protocol, ranks in parts.items():
            ranks.append(_ranks(run, protocol, _known(users, scores), users))
    return {
        protocol: Ranks(
            *(np.concatenate([getattr(each, name) for each in ranks]) for name in ("users", "better", "tied"))
        ).metrics(run.config.evaluation.cutoffs)
        for protocol, ranks in parts.items()
    }


def baselines(run: Run) -> dict[str, dict[str, dict[str, float]]]:
    """Popularity, the paper's learner without a federation, and a centralised factorisation, under each protocol.

    Their random starts come from the candidates' seed, so that they do not change from run to run on the same data.
    """
    train, rng = run.split.train, np.random.default_rng(run.config.data.candidates_seed)

    def of(scorer: Scorer) -> dict[str, dict[str, float]]:
        return {protocol: _figures(run, protocol, scorer)["metrics"] for protocol in PROTOCOLS}

    return {
        "popularity": of(popularity_scorer(train)),
        "local_only": _local_only(run, run.dataset.interactions, ("published",))
        | _local_only(run, train, ("clean", "full")),
        "ials": of(ials_scorer(train, iterations=IALS_ITERATIONS, rng=rng)),
    }


def privacy_figures(run: Run) -> dict[str, Any]:
    """What the ledger adds up to. Infinite epsilons are null."""
    events, delta = run.folder.ledger.events(), run.config.privacy.delta
    # a run that only goes on, without rounds, releases nothing
    promise = next(iter(run.promises.values()), None)
    private = run.config.privacy.privacy and promise is not None
    central, local, spent = central_epsilon(events, delta=delta), local_epsilon(events, delta=delta), run.spent()
    rdp = central_epsilon(events, delta=delta, accountant="rdp")
    figures: dict[str, Any] = {
        "unit": spent.unit,
        "relation": spent.relation,
        "against": spent.against,
        "local_relation": local.relation,
        "delta": delta,
        "accountant": spent.accountant,
        "central_epsilon": _finite(central),
        "central_epsilon_rdp": _finite(rdp),
        "local_epsilon": _finite(local),
        "noise_source": NOISE_SOURCES[_noise_source(events)] if run.config.privacy.privacy else None,
        "not_accounted": _not_accounted(run.config),
    }
    if promise is not None and promise.sgd is not None:
        sgd = promise.sgd
        release = {
            "release": "round", "count": run.rounds, "share": 1.0, "clip_norm": sgd.clip_norm, "norm": "L2",
            "noise_multiplier": sgd.exact_multiplier, "sample_rate": sgd.sample_rate, "steps": sgd.steps,
        }  # fmt: skip
        return figures | {
            "interaction_epsilon": _finite(spent), "user_level": NO_USER_LEVEL, "mechanism": "dp-sgd on the device",
            "releases": [release], "min_survivors": promise.min_survivors, "min_honest": None,
        }  # fmt: skip
    return figures | {
        "mechanism": run.config.privacy.mechanism if private else None,
        "releases": [
            {
                "release": each.name, "count": each.count, "share": each.share, "clip_norm": each.clip_norm,
                "norm": f"L{mechanism.norm_order}",
                "noise_multiplier": mechanism.noise_multiplier(run.promises[each.name].min_honest),
            }
            for each in planned(run.config, run.dataset.interactions.n_items)
            if isinstance(mechanism := run.promises[each.name].quantiser, Mechanism)
        ],
        "min_survivors": promise.min_survivors if promise and private else None,
        "min_honest": promise.min_honest if promise and private else None,
    }  # fmt: skip


def _noise_source(events: Sequence[Event]) -> str:
    """Of all noise together, that of a run which this one continues included: "seed" where any of it was."""
    return "seed" if any(getattr(event, "noise_source", "os") == "seed" for event in events) else "os"


def _finite(figure: Epsilon) -> float | None:
    return figure.epsilon if np.isfinite(figure.epsilon) else None


NO_USER_LEVEL = (
    "no user-level epsilon holds, central or local: one interaction cannot be told, but a person with many of them can"
)
NOISE_SOURCES = {"os": "operating system", "seed": "seed: noise reproducible, simulation only"}


def _not_accounted(config: Config) -> list[str]:
    """What was chosen or shown from users' data without being charged to any epsilon."""
    shown = [
        "losses, validation and test figures, and how many devices chose which mix: a simulation sees them, a "
        "deployment would not release them"
    ]
    if config.privacy.unit == "interaction":
        shown.append("training losses: of the examples as they are, without noise, and so not to leave a device")
    if config.evaluation.published:
        shown.append("the published twin: trained and noised alike on the same users, never released")
    if config.evaluation.keep == "best":
        shown.append("the kept round, chosen on validation")
    if config.privacy.privacy:
        shown.append("the default settings under privacy, chosen on validation data of ML-100K and ML-1M")
    return shown
