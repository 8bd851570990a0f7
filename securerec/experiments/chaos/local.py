"""A federation whose parties all run here, each from a folder of its own, and start again from it when they die."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from protocols import EnrolmentKey, Identity, Roster, Setup
from protocols.registry import PROTOCOLS, load
from securerec.config import Config
from securerec.data.dataset import Dataset
from securerec.data.interactions import Interactions
from securerec.data.splits import leave_one_out
from securerec.device.ledger import DeviceLedger
from securerec.device.policy import Policy
from securerec.device.records import OwnInteractions, write_interactions
from securerec.device.store import KeyFile, Store
from securerec.federation.identity import Beginnings
from securerec.federation.parties.exchange import Party
from securerec.federation.parties.member import Member, begin_records
from securerec.federation.parties.node import Node, Record
from securerec.federation.parties.public import Federation
from securerec.models.head import public_features
from securerec.privacy.randomness import NoiseKey

MEMBERS, THRESHOLD, TOLERATED = 7, 5, 2


@dataclass(frozen=True, slots=True, eq=False)
class LocalFederation:
    """federation: what is public. server: its identity. start: by address, what makes a node or decryptor from its
    folder. nodes: the clients of each node.
    """

    path: Path
    federation: Federation
    server: Identity
    nodes: Mapping[str, tuple[int, ...]]
    start: Mapping[str, Callable[[], Party]] = field(repr=False)

    def ledger_of(self, address: str) -> DeviceLedger:
        """A node's, as it lies on its disk."""
        return DeviceLedger(self.path / address / "ledger.jsonl")

    def store_of(self, address: str) -> Store:
        """A node's, as it lies on its disk."""
        return _store(self.path / address)


def enrol_locally(
    path: Path, config: Config, dataset: Dataset, *, nodes: int, run_id: bytes, record: Record | None = None
) -> LocalFederation:  # fmt: skip
    """Everybody's keys and the setups of all releases under one enrolment key, with the devices spread over nodes.

    config: resolved, with a seed: the federation is in test mode. record: told of what devices
    upload. Raises ConfigError, PrivacyError, ProtocolError.
    """
    cohort, protocol = dataset.interactions.n_users, config.protocol.protocol
    entry, beginnings = PROTOCOLS[protocol], Beginnings.of(config.seed)
    enrolment, server = EnrolmentKey.generate(), Identity.generate("server", 0)
    clients = {number: Identity.generate("client", number) for number in range(cohort)}
    members = (MEMBERS, THRESHOLD, TOLERATED) if entry.committee else (1, 1, 0) if entry.decryptor else (0, 0, 0)
    holders = {number: Identity.generate("decryptor", number) for number in range(members[0])}
    roster = Roster(
        server.public, tuple(each.public for each in clients.values()), tuple(each.public for each in holders.values()),
        *members[1:],
    )  # fmt: skip
    federation = Federation(
        config, public_features(dataset), run_id, beginnings.initial_values, cohort, enrolment.public, {},
        test_mode=True,
    )  # fmt: skip
    setups: dict[str, bytes] = {}
    keys: dict[int, dict[str, Any]] = {number: {} for number in holders}
    for name, promise in federation.promises().items():
        spec, published = promise.spec(cohort), b""
        for number, holder in holders.items():
            made, keys[number][name] = load(entry.decryptor or "").new_key(
                spec, run_id=run_id, roster=roster, identity=holder
            )
            published += made
        setups[name] = Setup(protocol, spec, run_id, roster.sign(enrolment), published).signed(enrolment).to_bytes()
    federation = replace(federation, setups=setups)
    parts = {f"node-{number:02d}": part for number, part in enumerate(np.array_split(np.arange(cohort), nodes), 1)}
    shared = {address: tuple(part.tolist()) for address, part in parts.items()}
    policy = Policy(
        enrolment=enrolment.public.hex(), servers=(server.public.signing.hex(),), protocols=tuple(PROTOCOLS),
        min_cohort=1, max_epsilon=float("inf"), max_epsilon_day=float("inf"), reproducible_noise=True,
    )  # fmt: skip
    train = leave_one_out(dataset.interactions).train
    start: dict[str, Callable[[], Party]] = {}
    for address, numbers in shared.items():
        _write_lists(path / address, train, numbers)
        own = {number: clients[number] for number in numbers}
        start[address] = _node_from(path / address, federation, own, beginnings, policy, record)
    for number, holder in holders.items():
        address = f"decryptor-{number}"
        start[address] = _member_from(path / address, federation, holder, keys[number])
    return LocalFederation(path, federation, server, shared, start)


def _write_lists(folder: Path, train: Interactions, numbers: Sequence[int]) -> None:
    folder.mkdir(parents=True)
    lists = Interactions.from_lists([train.of(number).tolist() for number in numbers], train.n_items)
    store = Store.create(folder / "store", KeyFile.make(folder / "store.key"))
    write_interactions(store, OwnInteractions(np.array(numbers, np.int64), lists))


def _store(folder: Path) -> Store:
    return Store.open(folder / "store", KeyFile(folder / "store.key"))


def _node_from(
    folder: Path, federation: Federation, identities: dict[int, Identity], beginnings: Beginnings, policy: Policy,
    record: Record | None,
) -> Callable[[], Party]:  # fmt: skip
    def start() -> Node:
        return Node(
            federation, identities, noise_key=NoiseKey.from_bytes(beginnings.noise),
            training_key=int.from_bytes(beginnings.training, "little"), store=_store(folder), policy=policy,
            ledger=DeviceLedger(folder / "ledger.jsonl"), record=record,
        )  # fmt: skip

    return start


def _member_from(folder: Path, federation: Federation, identity: Identity, keys: dict[str, Any]) -> Callable[[], Party]:
    folder.mkdir(parents=True)
    begin_records(folder, federation.setups)
    return lambda: Member(federation, identity, folder, keys=keys)
