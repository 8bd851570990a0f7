"""The server's whole run over an exchange: the warm start's sums, then the rounds, to the item table at the end.

What it needs to know is public, but for its own identity; what it learns is what was opened. It can be killed at any
instant: the ledger's event and the journal's attempt are on disk before a letter leaves, an opened sum is on disk
before the next release begins, and a run that starts again goes on from there.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save
from threadpoolctl import threadpool_limits

import protocols
from protocols.errors import ProtocolError
from protocols.identity import Identity
from securerec.data.interactions import Interactions
from securerec.errors import PrivacyError, RunError
from securerec.federation.folder import RunFolder
from securerec.federation.guards import table_digest
from securerec.federation.parties.attempt import AttemptPlay, Deadlines, Observe, Played, Roll
from securerec.federation.parties.budget import attempts_of, check_budget
from securerec.federation.parties.exchange import Exchange
from securerec.federation.parties.journal import Attempt, Journal
from securerec.federation.parties.letters import Ask, protocol_round
from securerec.federation.parties.public import Federation
from securerec.federation.promise import figure_of
from securerec.federation.releases import noisy_sum
from securerec.federation.spool import Spool
from securerec.federation.step import stepped
from securerec.federation.stored import read_arrays
from securerec.federation.summing import OpenedSum
from securerec.federation.warm_start import NoisySum, WarmStart, warm_steps
from securerec.files import write_atomic
from securerec.training.cohort import Table

_PAUSE = 0.2
"""Seconds between two looks at who is there."""

Tell = Callable[[dict[str, Any]], None]
"""Told of each attempt when it is over: its line in `rounds.jsonl`."""

Watch = Callable[[Attempt, Played], None]
"""Told the same, with the sum that was opened."""


class ServerRun:
    """One run of a federation, in a folder that only the server writes."""

    def __init__(
        self, folder: Path, federation: Federation, identity: Identity, exchange: Exchange, *,
        deadlines: Deadlines | None = None, observe: Observe | None = None, tell: Tell | None = None,
        watch: Watch | None = None,
    ) -> None:  # fmt: skip
        """observe: told of every phase when it is over. Raises ConfigError, PrivacyError, RunError or ProtocolError
        for what does not fit together.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._federation, self._exchange = federation, exchange
        self._deadlines, self._observe, self._tell = deadlines or Deadlines(), observe, tell
        self._watch = watch
        self._promises = federation.check()
        self._servers = {
            name: protocols.server(setup, identity, federation.enrolment) for name, setup in federation.setups.items()
        }
        self.folder = RunFolder(folder)

    def play(self) -> Table:
        """Release what is missing, to the end of the last round; the item table.

        Raises RunError where too few parties come, PrivacyError where an attempt was given up and there is no budget
        for another one; both name the reason. The run can go on later.
        """
        with self.folder.locked():
            self._journal = Journal(self.folder.path)
            done = self._round_done()
            self.folder.check_ledger(up_to=done)
            # sums of floats depend on how many threads share them
            with threadpool_limits(1):
                start, opened = self._start()
                table = self._table() if done else start.table
                if done:
                    self._end_attempt(f"round {done}")
                else:
                    self._commit(0, table, start)
                for number in range(done + 1, self._federation.rounds + 1):
                    table = self._round(number, table, start, opened)
        return table

    # Before the rounds.

    def _start(self) -> tuple[WarmStart, dict[str, NoisySum]]:
        """Where round 1 starts, and the sums that led there, in the order in which they were opened."""
        federation, opened = self._federation, dict[str, NoisySum]()
        nobody = Interactions.from_lists([[]], federation.n_items)
        cold = federation.cold(nobody)
        if not federation.config.start.head:
            return cold, opened
        learner = federation.config.training.learner()
        steps = warm_steps(federation.config.start, learner, federation.features, cold, nobody, basis=federation.run_id)
        wanted = next(steps)
        while True:
            name = wanted.name
            kept = self.folder.start_sum(name)
            if kept is None:
                kept = self._open(name, name, 1, wanted.table, wanted.basis, opened, sent_table=None)
                self.folder.write_start_sum(name, kept)
            self._end_attempt(name)
            opened[name] = noisy_sum(self._promises[name], kept, len(wanted.table))
            try:
                wanted = steps.send(opened[name])
            except StopIteration as end:
                start: WarmStart = end.value
                return start, opened

    # The rounds.

    def _round(self, number: int, table: Table, start: WarmStart, opened: dict[str, NoisySum]) -> Table:
        result = self._open("round", f"round {number}", number, table, start.basis, opened, sent_table=table)
        quantiser = self._promises["round"].quantiser
        after = stepped(
            table, result.total, survivors=result.survivors, scale=quantiser.scale,
            server_lr=self._federation.config.training.server_lr, client_sigma=quantiser.client_sigma,
            popularity=start.popularity,
        )  # fmt: skip
        self._commit(number, after, start)
        self._end_attempt(f"round {number}")
        return after

    def _open(
        self, release: str, label: str, number: int, table: Table, basis: bytes, opened: dict[str, NoisySum], *,
        sent_table: Table | None,
    ) -> OpenedSum:  # fmt: skip
        """One release: as many attempts as it takes, and as there is budget for."""
        while True:
            charged = attempts_of(label, self.folder.ledger.events())
            roll = self._gather(release)
            attempt = self._journal.begin(release, label, number, charged=charged)
            self._charge(attempt)
            played = self._attempt(attempt, roll, table, basis, opened, sent_table)
            self._note(attempt, played, roll)
            if self._watch is not None:
                self._watch(attempt, played)
            if played.values is not None:
                return OpenedSum(played.values, len(played.survivors), played.upload_bytes)
            self._journal.give_up(played.reason)

    def _gather(self, release: str) -> Roll:
        """Who is there: everybody who is enrolled, or after a while at least as many as a sum needs.

        Raises RunError where too few come.
        """
        session, promise = self._servers[release].session, self._promises[release]
        roster, started = session.roster, time.monotonic()
        clients = [party.number for party in roster.clients]
        decryptors = [party.number for party in roster.decryptors]
        while True:
            roll = Roll.called(
                self._exchange.parties(), release=release, setup=session.setup.digest, version=version("securerec"),
                clients=clients, decryptors=decryptors,
            )  # fmt: skip
            waited = time.monotonic() - started
            if len(roll.clients) == len(clients) and len(roll.decryptors) == len(decryptors):
                return roll
            enough = len(roll.clients) >= promise.min_survivors and len(roll.decryptors) >= roster.threshold
            if enough and waited >= self._deadlines.settle:
                return roll
            if waited >= self._deadlines.gather:
                why = f" ({roll.complaints[0]})" if roll.complaints else ""
                raise RunError(
                    f"{len(roll.clients)} of {len(clients)} clients and {len(roll.decryptors)} of {len(decryptors)} "
                    f"decryptors are connected, and {release} needs {promise.min_survivors} and {roster.threshold}"
                    f"{why}: start the others"
                )
            time.sleep(_PAUSE)

    def _charge(self, attempt: Attempt) -> None:
        """The attempt's event, in the ledger before a letter leaves. Raises PrivacyError where there is no room."""
        settings, known = self._federation.config.privacy, self.folder.ledger.events()
        event = self._promises[attempt.release].event(attempt.name)
        if attempt.number > 1 and event not in known:
            given_up = self._journal.given_up(attempt.label)
            if self._spares_used(attempt.release) > settings.spare_attempts:
                raise PrivacyError(
                    f"{attempt.label} was given up and privacy.spare_attempts = {settings.spare_attempts} leaves no "
                    f"other attempt: {given_up[-1]}"
                )
            check_budget(settings, self._promises, self._federation.rounds, known, event)
        self.folder.ledger.append(event)

    def _spares_used(self, release: str) -> int:
        """Attempts at releases of a kind that were given up."""
        labels = [release] if release != "round" else [f"round {n}" for n in range(1, self._federation.rounds + 1)]
        return sum(len(self._journal.given_up(label)) for label in labels)

    def _attempt(
        self, attempt: Attempt, roll: Roll, table: Table, basis: bytes, opened: dict[str, NoisySum],
        sent_table: Table | None,
    ) -> Played:  # fmt: skip
        ask = Ask(attempt.release, attempt.round_number, attempt.number, opened, sent_table)
        # who has answered before a crash takes part, there or not
        cohort = {*roll.clients, *(n for phase in attempt.phases if phase.role == "client" for n in phase.heard)}
        with Spool(self.folder.path) as spool:
            try:
                server_round = self._servers[attempt.release].open_round(
                    protocol_round(attempt.round_number, attempt.number), context=table_digest(table, basis),
                    min_survivors=self._promises[attempt.release].min_survivors, cohort=cohort,
                    spool=spool, secret=attempt.secret,
                )  # fmt: skip
            except ProtocolError as refusal:
                return Played(reason=str(refusal))
            play = AttemptPlay(server_round, ask, self._journal, self._exchange, roll, self._deadlines)
            return play.play(self._observe)

    # What is kept.

    def _note(self, attempt: Attempt, played: Played, roll: Roll) -> None:
        """A line in `rounds.jsonl`; of an attempt that has one already, in its place."""
        seconds: dict[str, float] = {}
        for phase in played.phases:
            seconds[phase.phase] = seconds.get(phase.phase, 0.0) + phase.seconds
        spent = figure_of(self._federation.config.privacy)(
            self.folder.ledger.events(), delta=self._federation.config.privacy.delta
        ).epsilon
        line = {
            "attempt": attempt.name, "release": attempt.release, "round": attempt.round_number,
            "number": attempt.number, "outcome": "given up" if played.values is None else "opened",
            "reason": played.reason, "clients": len(roll.clients), "decryptors": len(roll.decryptors),
            "survivors": len(played.survivors), "absent": sorted(self._absent(attempt.release, played, roll)),
            "upload_bytes": played.upload_bytes, "seconds": seconds,
            "sent": sum(phase.sent for phase in played.phases),
            "received": sum(phase.received for phase in played.phases),
            "phases": [asdict(phase) for phase in played.phases],
            "complaints": dict(played.complaints), "sentences": played.sentences,
            "central_epsilon": spent if np.isfinite(spent) else None, "ended": time.time(),
        }  # fmt: skip
        lines = [each for each in self.lines() if each["attempt"] != attempt.name] + [line]
        write_atomic(self.folder.path / "rounds.jsonl", "".join(json.dumps(each) + "\n" for each in lines).encode())
        if self._tell is not None:
            self._tell(line)

    def _absent(self, release: str, played: Played, roll: Roll) -> set[int]:
        """Clients that are enrolled and not in the sum."""
        everybody = {party.number for party in self._servers[release].session.roster.clients}
        return everybody - set(played.survivors) if played.values is not None else everybody - roll.clients.keys()

    def lines(self) -> list[dict[str, Any]]:
        """Of `rounds.jsonl`, one for each attempt that is over. Raises RunError for a damaged file."""
        path = self.folder.path / "rounds.jsonl"
        try:
            return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        except ValueError:
            raise RunError(f"{path} is damaged: restore it, or move it away") from None

    def _commit(self, number: int, table: Table, start: WarmStart) -> None:
        """Make a round final: `model.safetensors` is its checkpoint and, after the last one, the model."""
        n_items, head = self._federation.n_items, start.heads.head
        arrays = {"item_table": table[:n_items], "network": table[n_items:]}
        if self._federation.config.start.head:
            arrays |= {"base": head.base, "directions": head.directions, "inputs": head.inputs}
        arrays = {name: np.ascontiguousarray(values) for name, values in arrays.items() if values.size}
        write_atomic(self.folder.path / "model.safetensors", save(arrays, {"round": str(number)}))

    def _round_done(self) -> int:
        """The last whole round, 0 before the first."""
        path = self.folder.path / "model.safetensors"
        if not path.exists():
            return 0
        _, metadata = read_arrays(path)
        if not metadata.get("round", "").isdigit():
            raise RunError(f"{path} does not say of which round it is: restore it")
        return int(metadata["round"])

    def _table(self) -> Table:
        arrays, _ = read_arrays(self.folder.path / "model.safetensors")
        table: Table = np.concatenate([arrays["item_table"], *([arrays["network"]] if "network" in arrays else [])])
        return table

    def _end_attempt(self, label: str) -> None:
        """The sum of a release is on disk: its attempt is over, if a crash has not kept the journal from saying so."""
        attempt = self._journal.attempt
        if attempt is not None and attempt.label == label:
            self._journal.done()
