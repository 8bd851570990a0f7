"""A federation in one process: what an enrolment makes, nodes of any size on disks of their own, and a plain driver of
the server's side that knows nothing of `securerec.federation.parties.server`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

import protocols
from protocols import Address, EnrolmentKey, Identity, Roster, Setup
from protocols.registry import PROTOCOLS, load
from securerec.config import Config
from securerec.data.dataset import Dataset
from securerec.data.interactions import Interactions
from securerec.data.splits import leave_one_out
from securerec.device.ledger import DeviceLedger
from securerec.device.policy import Policy
from securerec.device.records import OwnInteractions, write_interactions
from securerec.device.store import KeyFile, Store
from securerec.federation.guards import table_digest
from securerec.federation.identity import Beginnings
from securerec.federation.parties import letters
from securerec.federation.parties.letters import Ask, Call, Reply, protocol_round
from securerec.federation.parties.member import Member, begin_records
from securerec.federation.parties.node import Node
from securerec.federation.parties.public import Federation
from securerec.federation.promise import Promise
from securerec.federation.releases import noisy_sum
from securerec.federation.summing import OpenedSum
from securerec.federation.warm_start import NoisySum, WarmStart, warm_steps
from securerec.models.head import public_features
from securerec.privacy.randomness import NoiseKey

Edit = Callable[[int, Ask], Ask]


@dataclass
class SmallFederation:
    """A run's public facts, every party's keys, and nodes by name. `kept`: by release and round, what was opened."""

    federation: Federation
    dataset: Dataset
    path: Path
    server_identity: Identity
    identities: dict[int, Identity]
    holders: dict[int, Identity]
    keys: dict[str, dict[int, object]]
    beginnings: Beginnings
    nodes: dict[str, Node] = field(default_factory=dict)
    members: dict[int, Member] = field(default_factory=dict)
    opened: dict[str, NoisySum] = field(default_factory=dict)
    sums: dict[tuple[str, int], OpenedSum] = field(default_factory=dict)
    letters_sent: list[tuple[str, bytes]] = field(default_factory=list)
    replies: list[tuple[str, Reply]] = field(default_factory=list)

    @property
    def promises(self) -> dict[str, Promise]:
        return self.federation.promises()

    def policy(self, **changes: object) -> Policy:
        values: dict[str, object] = {
            "enrolment": self.federation.enrolment.hex(), "servers": (self.server_identity.public.signing.hex(),),
            "min_cohort": 1, "protocols": tuple(PROTOCOLS), "max_epsilon": float("inf"),
            "max_epsilon_day": float("inf"), "reproducible_noise": True,
        }  # fmt: skip
        return Policy(**(values | changes))  # type: ignore[arg-type]

    def start_node(self, name: str, clients: list[int], **changes: object) -> Node:
        """A node from what lies on its disk, which is made at its first start."""
        folder = self.path / name
        key = folder / "store.key"
        if not key.exists():
            folder.mkdir(parents=True)
            train = leave_one_out(self.dataset.interactions).train
            lists = [train.of(client).tolist() for client in clients]
            own = OwnInteractions(np.array(clients, np.int64), Interactions.from_lists(lists, train.n_items))
            write_interactions(Store.create(folder / "store", KeyFile.make(key)), own)
        self.nodes[name] = Node(
            self.federation, {client: self.identities[client] for client in clients},
            noise_key=NoiseKey.from_bytes(self.beginnings.noise),
            training_key=int.from_bytes(self.beginnings.training, "little"),
            store=Store.open(folder / "store", KeyFile(key)), policy=self.policy(**changes),
            ledger=DeviceLedger(folder / "ledger.jsonl"),
        )  # fmt: skip
        return self.nodes[name]

    def start_nodes(self, devices: int) -> None:
        """Nodes of so many devices each, for the whole cohort."""
        everybody = list(self.identities)
        for number in range(0, len(everybody), devices):
            self.start_node(f"node-{number // devices}", everybody[number : number + devices])

    def start_member(self, number: int) -> Member:
        """A decryptor from its disk."""
        keys = {name: by_number[number] for name, by_number in self.keys.items()}
        folder = self.path / f"decryptor-{number}"
        if not folder.exists():
            begin_records(folder, self.federation.setups)
        self.members[number] = Member(self.federation, self.holders[number], folder, keys=keys)
        return self.members[number]

    def server(self, release: str) -> protocols.Server:
        return protocols.server(self.federation.setups[release], self.server_identity, self.federation.enrolment)

    def play(
        self, release: str, table: np.ndarray, basis: bytes, *, round_number: int = 1, attempt: int = 1,
        secret: bytes | None = None, edit: Edit | None = None,
    ) -> OpenedSum:  # fmt: skip
        """One attempt at a release, with all nodes. edit: what the server does to a letter, given its phase's number.

        Raises RoundAborted.
        """
        server_round = self.server(release).open_round(
            protocol_round(round_number, attempt), context=table_digest(table, basis),
            min_survivors=self.promises[release].min_survivors, secret=secret,
        )  # fmt: skip
        phase = 0
        while not server_round.done:
            outbox = server_round.outbox()
            for name, node in list(self.nodes.items()):
                messages = {
                    client: outbox["client", client]  # type: ignore[index]
                    for client in node.present().numbers
                    if ("client", client) in outbox
                }
                if not messages:
                    continue
                ask = Ask(release, round_number, attempt, messages=messages)
                if phase == 0:
                    sent = table if release == "round" else None
                    ask = Ask(release, round_number, attempt, self.opened, sent, messages)
                for answer in self.send(name, ask if edit is None else edit(phase, ask)).answers.values():
                    server_round.receive(answer)
            for address, message in outbox.items():
                if Address(*address).role == "decryptor":
                    answer = self.members[address.number].answer(letters.to_bytes(Call(release, message)))
                    server_round.receive(letters.read_reply(answer, numbers=[address.number]).answers[address.number])
            server_round.close_phase()
            phase += 1
        result = server_round.result
        assert not result.complaints
        return OpenedSum(result.values, len(result.survivors), None)

    def send(self, name: str, ask: Ask) -> Reply:
        """Hand a letter to a node."""
        letter = letters.to_bytes(ask)
        self.letters_sent.append((name, letter))
        reply = letters.read_reply(self.nodes[name].answer(letter), numbers=ask.messages)
        self.replies.append((name, reply))
        return reply

    def again(self, name: str, letter: bytes) -> Reply:
        """Hand a letter of before to a node once more."""
        read = letters.from_bytes(self.nodes[name].answer(letter))
        assert isinstance(read, Reply)
        return read

    def refusals(self) -> list[str]:
        """Of the last reply of each node, what was refused."""
        last = dict(self.replies)
        return [line for reply in last.values() for line in reply.refusals.values()]

    def warm_start(self, edit: Edit | None = None) -> WarmStart:
        """Every release before the rounds, as the server walks through them with nobody's list. edit: see `play`."""
        federation = self.federation
        nobody = Interactions.from_lists([[]], federation.n_items)
        cold = federation.cold(nobody)
        if not federation.config.start.head:
            return cold
        steps = warm_steps(
            federation.config.start, federation.config.training.learner(), federation.features, cold, nobody,
            basis=federation.run_id,
        )  # fmt: skip
        wanted = next(steps)
        while True:
            opened = self.play(wanted.name, wanted.table, wanted.basis, edit=edit)
            self.sums[wanted.name, 1] = opened
            self.opened[wanted.name] = noisy_sum(self.promises[wanted.name], opened, len(wanted.table))
            try:
                wanted = steps.send(self.opened[wanted.name])
            except StopIteration as end:
                start: WarmStart = end.value
                return start


def enrolled(
    path: Path, config: Config, dataset: Dataset, *, run_id: bytes = b"a run of sixteen", test_mode: bool = True
) -> SmallFederation:  # fmt: skip
    """Everybody's keys, and the setups of all releases under one enrolment key."""
    cohort, protocol = dataset.interactions.n_users, config.protocol.protocol
    beginnings = Beginnings.of(config.seed if test_mode else None)
    enrolment, server = EnrolmentKey.generate(), Identity.generate("server", 0)
    clients = {number: Identity.generate("client", number) for number in range(cohort)}
    entry = PROTOCOLS[protocol]
    members = 7 if entry.committee else (1 if entry.decryptor else 0)
    holders = {number: Identity.generate("decryptor", number) for number in range(members)}
    roster = Roster(
        server.public, tuple(each.public for each in clients.values()), tuple(each.public for each in holders.values()),
        5 if entry.committee else members, 2 if entry.committee else 0,
    )  # fmt: skip
    features = public_features(dataset)
    federation = Federation(
        config, features, run_id, beginnings.initial_values, cohort, enrolment.public, {}, test_mode
    )  # fmt: skip
    setups: dict[str, bytes] = {}
    keys: dict[str, dict[int, object]] = {}
    for name, promise in federation.promises().items():
        published, keys[name] = b"", {}
        for number, holder in holders.items():
            assert entry.decryptor is not None
            public, keys[name][number] = load(entry.decryptor).new_key(
                promise.spec(cohort), run_id=run_id, roster=roster, identity=holder
            )
            published += public
        setup = Setup(protocol, promise.spec(cohort), run_id, roster.sign(enrolment), published)
        setups[name] = setup.signed(enrolment).to_bytes()
    made = SmallFederation(
        replace(federation, setups=setups), dataset, path, server, clients, holders, keys, beginnings
    )  # fmt: skip
    for number in holders:
        made.start_member(number)
    return made
