"""What must hold in a federation whatever happens to it, checked from what parties did and not from what they say."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from protocols.setup import Setup
from securerec.device.records import PrivateState, read_state
from securerec.errors import SecurerecError
from securerec.experiments.chaos.local import LocalFederation
from securerec.experiments.chaos.wrappers import Witness
from securerec.federation.parties.attempt import Played
from securerec.federation.parties.budget import release_labels
from securerec.federation.parties.journal import Attempt
from securerec.federation.parties.letters import attempt_label, protocol_round
from securerec.models.scorers import ScoreFunctions
from securerec.privacy.accounting import central_epsilon
from securerec.privacy.ledger import Ledger

Invariant = Literal["exact sums", "aborts have a name", "opened once", "private states", "ledgers agree"]
INVARIANTS: tuple[Invariant, ...] = get_args(Invariant)
"""exact sums: what was opened is the sum of what its survivors uploaded, each one vector an attempt. aborts have a
name: an attempt without a sum has a reason. opened once: a release is opened in one attempt, of one set of survivors,
and in an attempt a decryptor answers for one set. private states: what a device scores with goes on from where it was.
ledgers agree: every upload is in the device's ledger, what that holds is in the server's as the same event, and
epsilons are what these events come to.
"""

Position = tuple[int, int, int]
"""Place of the release in the run, round, attempt."""


@dataclass
class Invariants:
    """Looks at a federation after every attempt. broken: sentences, by what they break."""

    local: LocalFederation
    broken: dict[Invariant, list[str]] = field(default_factory=lambda: {name: [] for name in INVARIANTS})
    checked: Counter[Invariant] = field(default_factory=Counter)
    _uploads: dict[Position, dict[int, NDArray[np.int64]]] = field(default_factory=lambda: defaultdict(dict))
    _opened: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    _states: dict[str, PrivateState] = field(default_factory=dict)

    def __post_init__(self) -> None:
        promises = self.local.federation.promises()
        self._places = {name: place for place, name in enumerate(promises)}
        self._releases = {place: name for name, place in self._places.items()}
        self._labels = release_labels(promises, self.local.federation.rounds)

    def record(self, position: Position, client: int, values: NDArray[np.int64]) -> None:
        """A device is about to upload these integers."""
        known = self._uploads[position].get(client)
        if known is not None and not np.array_equal(known, values):
            self._break("exact sums", f"client {client} uploads two vectors in the attempt {position}")
        self._uploads[position][client] = values.copy()

    def after(self, attempt: Attempt, played: Played, witness: Witness) -> None:
        """An attempt is over."""
        position = (self._places[attempt.release], attempt.round_number, attempt.number)
        if played.values is None:
            self.checked["aborts have a name"] += 1
            if not played.reason.strip():
                self._break("aborts have a name", f"{attempt.name} ended without a sum and without a reason")
        else:
            self._check_sum(attempt.name, position, played.survivors, played.values)
        self._check_opened(attempt, played, witness)
        for address in self.local.nodes:
            self._check_state(address)

    def _check_sum(
        self, name: str, position: Position, survivors: tuple[int, ...], values: NDArray[np.int64]
    ) -> None:  # fmt: skip
        self.checked["exact sums"] += 1
        uploads, total = self._uploads[position], np.zeros_like(values)
        for client in survivors:
            if client not in uploads:
                self._break("exact sums", f"{name}: client {client} is in the sum and has uploaded nothing")
                return
            total += uploads[client]
        if not np.array_equal(total, values):
            self._break("exact sums", f"{name}: what was opened is not the sum of its {len(survivors)} survivors")

    def _check_opened(self, attempt: Attempt, played: Played, witness: Witness) -> None:
        self.checked["opened once"] += 1
        if played.values is not None:
            self._opened[attempt.label].add(attempt.number)
        if len(self._opened[attempt.label]) > 1:
            self._break("opened once", f"{attempt.label} was opened in {len(self._opened[attempt.label])} attempts")
        sets = witness.opened.get((attempt.release, protocol_round(attempt.round_number, attempt.number)), {})
        answered = Counter(address for addresses in sets.values() for address in addresses)
        for address, times in answered.items():
            if times > 1:
                self._break("opened once", f"{attempt.name}: {address} has answered for {times} sets of survivors")
        setup = Setup.from_bytes(self.local.federation.setups[attempt.release])
        threshold = setup.verify(self.local.federation.enrolment).threshold
        enough = [survivors for survivors, by in sets.items() if len(by) >= threshold]
        if len(enough) > 1:
            self._break("opened once", f"{attempt.name}: {len(enough)} sets of survivors were opened")

    def _check_state(self, address: str) -> None:
        """A node's private state, as it lies on its disk, against what lay there before."""
        self.checked["private states"] += 1
        before = self._states.get(address)
        try:
            now = read_state(self.local.store_of(address))
        except SecurerecError as error:
            self._break("private states", f"{address}: {error}")
            return
        reached = self._reached(address)
        if now is None or now.round_number < reached:
            if reached or before is not None:
                self._break("private states", f"{address} has lost what its devices score with after round {reached}")
            return
        self._states[address] = now
        if before is None:
            return
        known = before.before if now.round_number == before.round_number else before.after
        if now.round_number < before.round_number or not _same(known, now.before):
            self._break("private states", f"{address} does not go on from its state of round {before.round_number}")
        elif (
            now.round_number == before.round_number
            and np.array_equal(now.table, before.table)
            and not _same(before.after, now.after)
        ):
            # from another table, as a server that lies may send it in another attempt, they come to another state
            self._break("private states", f"{address} has come to another state of round {now.round_number}")

    def _reached(self, address: str) -> int:
        """The last round in which a device of this node has uploaded, 0 for none."""
        clients, place = set(self.local.nodes[address]), self._places["round"]
        return max((at[1] for at, who in self._uploads.items() if at[0] == place and clients & who.keys()), default=0)

    def at_the_end(self, ledger: Ledger) -> None:
        """The server's ledger and those of all nodes, against what was uploaded."""
        server = {event.label: event for event in ledger.events()}
        federation = self.local.federation
        run = federation.run_id.hex()
        uploaded = {self._label(position): set(clients) for position, clients in self._uploads.items()}
        for label in uploaded.keys() - server.keys():
            self._break("ledgers agree", f"{label} was uploaded, and the server's ledger lacks it")
        for address, clients in self.local.nodes.items():
            self.checked["ledgers agree"] += 1
            lines = self.local.ledger_of(address)
            events = lines.events(run=run)
            labels = {label for label, who in uploaded.items() if who & set(clients)}
            own = {event.label: event for event in events}
            for label in sorted(labels - own.keys()):
                self._break("ledgers agree", f"{address} has uploaded {label}, and its ledger lacks it")
            # a device may have paid for what it was kept from uploading, but the server has paid for it, too
            for label in sorted(own):
                if own[label] != server.get(label):
                    self._break("ledgers agree", f"{address} and the server have not the same event under {label}")
            sent = lines.sent()
            if not sent:
                continue
            delta = sent[-1].delta
            counted = central_epsilon([server[label] for label in own if label in server], delta=delta).epsilon
            if not np.isclose(sent[-1].central_epsilon, counted, rtol=1e-9):
                self._break(
                    "ledgers agree",
                    f"{address} states an epsilon of {sent[-1].central_epsilon:.6g}, and by the server's events it is "
                    f"{counted:.6g}",
                )

    def _label(self, position: Position) -> str:
        place, number, attempt = position
        release = self._releases[place]
        return attempt_label(f"round {number}" if release == "round" else release, attempt)

    def _break(self, what: Invariant, sentence: str) -> None:
        if sentence not in self.broken[what]:
            self.broken[what].append(sentence)


def _same(one: ScoreFunctions, other: ScoreFunctions) -> bool:
    return np.array_equal(one.weights, other.weights) and np.array_equal(one.biases, other.biases)
