"""Plays a federation through a plan of faults and lies, and says what was broken."""

import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from securerec.config import Config, make_config
from securerec.data.synthetic import synthesize
from securerec.errors import PrivacyError
from securerec.experiments.chaos.invariants import INVARIANTS, Invariants
from securerec.experiments.chaos.local import LocalFederation, enrol_locally
from securerec.experiments.chaos.plan import LIES, Lie, Plan
from securerec.experiments.chaos.wrappers import Killer, Liar, ServerKilled, Witness
from securerec.federation.parties.attempt import Deadlines, Played
from securerec.federation.parties.exchange import Exchange, LocalExchange
from securerec.federation.parties.journal import Attempt
from securerec.federation.parties.server import ServerRun

CLIENTS, NODES, ITEMS = 24, 12, 40
DROPOUTS, MEMBERS_GONE = 0.3, 2
SPARES = 4
"""Spare attempts for each round."""
_DEADLINES = Deadlines(first=60.0, later=60.0, settle=0.0, gather=30.0)

_MEMORY = "/dev/shm"
"""Where Linux has files that live in memory."""

MakeServer = Callable[..., ServerRun]


@dataclass(frozen=True, slots=True)
class ChaosResult:
    """outcomes: attempts by how they ended, an abort by its reason without numbers. faults, lies, kills: how often each
    was met, kills by what was under way. complaints: what the server refused, by name. stopped: why the last
    rounds were not played, if they were not. broken: by invariant, sentences.
    """

    rounds: int
    seed: int
    protocol: str
    attempts: int
    outcomes: dict[str, int]
    faults: dict[str, int]
    lies: dict[str, int]
    kills: dict[str, int]
    complaints: dict[str, int]
    refused_by_parties: int
    stopped: str
    checked: dict[str, int]
    broken: dict[str, list[str]]
    seconds: float

    @property
    def violations(self) -> int:
        return sum(map(len, self.broken.values()))


def chaos_config(rounds: int, seed: int, protocol: str) -> Config:
    """Settings of a small federation whose sums stand three devices in ten being gone."""
    return make_config(
        {
            "seed": seed,
            "training": {"rounds": rounds, "dim": 4},
            "start": {"segments": (3,)},
            "privacy": {"epsilon": 100.0, "surviving": 0.6, "spare_attempts": SPARES * rounds},
            "protocol": {"protocol": protocol},
            "evaluation": {"keep": "last", "published": False},
        }
    ).resolved(CLIENTS, ITEMS)


def play_chaos(
    rounds: int, seed: int, *, protocol: str = "ckks-committee", step: Callable[[str], None] = lambda what: None,
    lies: tuple[Lie, ...] = LIES, make_server: MakeServer = ServerRun,
    spoil: Callable[[LocalFederation], LocalFederation] = lambda local: local,
) -> ChaosResult:  # fmt: skip
    """A run of so many rounds under a plan drawn from the seed. step: told of every attempt. lies: of
    the server, in turn.

    make_server, spoil: what builds the server, and what is done to the parties, where a bug is planted.
    """
    dataset = synthesize(CLIENTS, ITEMS, CLIENTS * 6, np.random.default_rng(seed), name="chaos")
    # processes die here, not machines: what lies in memory outlives them as well as on a disk, and is faster
    memory = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="securerec-chaos-", dir=memory) as folder:
        started = time.perf_counter()
        told: list[Invariants] = []
        local = spoil(
            enrol_locally(
                Path(folder), chaos_config(rounds, seed, protocol), dataset, nodes=NODES, run_id=b"a chaos run's id",
                record=lambda position, client, values: told[0].record(position, client, values),
            )
        )  # fmt: skip
        invariants = Invariants(local)
        told.append(invariants)
        decryptors = [address for address in local.start if address not in local.nodes]
        plan = Plan(
            seed, nodes=list(local.nodes), decryptors=decryptors, dropouts=DROPOUTS, members_gone=MEMBERS_GONE,
            lies=lies,
        )  # fmt: skip
        exchange = LocalExchange(local.start, faults=plan.fault)
        witness = Witness(exchange, local.federation, local.server)
        liar = Liar(witness, plan, local.federation, local.server)
        killer = Killer(liar, plan)
        outcomes: Counter[str] = Counter()
        complaints: Counter[str] = Counter()

        def watch(attempt: Attempt, played: Played) -> None:
            outcomes["opened" if played.values is not None else kind_of(played.reason)] += 1
            complaints.update(played.complaints)
            invariants.after(attempt, played, witness)
            step(f"{attempt.name}: {'opened' if played.values is not None else 'given up'}")

        run, stopped = _until_done(local, killer, make_server, watch)
        invariants.at_the_end(run.folder.ledger)
        return ChaosResult(
            rounds, seed, protocol, sum(outcomes.values()), dict(outcomes.most_common()),
            dict(exchange.met.most_common()), dict(liar.told.most_common()), dict(killer.killed.most_common()),
            dict(complaints.most_common()),
            witness.refused, stopped, {name: invariants.checked[name] for name in INVARIANTS},
            {name: list(found) for name, found in invariants.broken.items()}, time.perf_counter() - started,
        )  # fmt: skip


def _until_done(
    local: LocalFederation, exchange: Exchange, make_server: MakeServer, watch: Callable[[Attempt, Played], None]
) -> tuple[ServerRun, str]:
    """The server starts, dies and starts again until its last round is over, or its budget is, and then why."""
    while True:
        run = make_server(
            local.path / "server", local.federation, local.server, exchange, deadlines=_DEADLINES, watch=watch
        )
        try:
            run.play()
        except ServerKilled:
            continue
        except PrivacyError as reason:
            return run, str(reason)
        return run, ""


def kind_of(reason: str) -> str:
    """Why an attempt was given up, the same sentence for all numbers."""
    words = reason.split(": ", 1)[-1]
    return "".join("N" if c.isdigit() else c for c in words).replace("NN", "N").replace("NN", "N")
