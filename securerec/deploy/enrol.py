"""`securerec deploy init`: everything for a federation in one folder, each party's secrets in its own part of it.

It makes all keys in one place, which suits an organisation that runs all parties or hands each its folder. Where people
bring their own, each makes its identity itself and the enroller signs what it is shown: `make_public` needs public
parts alone.
"""

import hashlib
import json
import math
import os
import secrets
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from protocols.errors import ProtocolError
from protocols.identity import EnrolmentKey, Identity
from protocols.registry import PROTOCOLS
from protocols.roster import Roster
from protocols.setup import Setup
from securerec.config import Config
from securerec.data.dataset import Dataset
from securerec.data.interactions import Interactions
from securerec.data.splits import leave_one_out
from securerec.deploy.certificates import (
    Signed,
    key_to_pem,
    new_authority,
    new_node_key,
    new_server_certificate,
    public_to_hex,
)
from securerec.deploy.layout import (
    FORMAT,
    LABEL,
    OPERATOR_BYTES,
    Layout,
    Start,
    catalogue_bytes,
    setup_place,
    write_secret,
    write_superlink,
)
from securerec.device.policy import Policy
from securerec.device.records import OwnInteractions, write_interactions
from securerec.device.store import KeyFile, Store
from securerec.errors import ConfigError, RunError
from securerec.federation.identity import Beginnings, fingerprint
from securerec.federation.parties.member import begin_records
from securerec.federation.parties.public import Federation
from securerec.federation.promise import planned
from securerec.files import write_atomic
from securerec.models.head import public_features
from securerec.privacy.accounting import central_epsilon
from securerec.privacy.events import Event, Unprotected

MARGIN = 1 + 1e-6
"""A policy's epsilon above what the run plans, for the last digits of an accountant."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """devices: nodes over which the data set's users are dealt. address: host:port of the SuperLink. hosts: names and
    addresses that its certificate is for, beside the host in `address`.
    """

    config: Config
    devices: int
    decryptors: int
    address: str
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1")


def committee(decryptors: int) -> tuple[int, int]:
    """(threshold, tolerated): a third of the members may be corrupt, and t > (n + f) / 2 must answer."""
    tolerated = (decryptors - 1) // 3
    return (decryptors + tolerated) // 2 + 1, tolerated


def enrol(path: Path, dataset: Dataset, wanted: Wanted) -> Layout:
    """Write a federation's folder; it appears whole or not at all.

    Raises RunError where something is there already; ConfigError, PrivacyError or ProtocolError for what no federation
    can run.
    """
    path = path.resolve()
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RunError(f"{path} is not empty: choose another folder")
    cohort, config = dataset.interactions.n_users, wanted.config
    if not 1 <= wanted.devices <= cohort:
        raise ConfigError(f"{dataset.name} has {cohort} users: they cannot be dealt over {wanted.devices} nodes")
    draft = path.parent / f".{path.name}.draft"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700, parents=True)
    try:
        _write(Layout(draft), dataset, wanted, cohort, config)
        draft.rename(path)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return Layout(path)


def _write(layout: Layout, dataset: Dataset, wanted: Wanted, cohort: int, config: Config) -> None:
    protocol = PROTOCOLS[config.protocol.protocol]
    if protocol.decryptor is not None and not protocol.committee:
        raise ConfigError(
            f"the key of {config.protocol.protocol} lives in one process: take ckks-committee, pairwise or plain"
        )
    members = wanted.decryptors if protocol.committee else 0
    if protocol.committee and members < 1:
        raise ConfigError("a committee needs a decryptor: take --decryptors 7")
    threshold, tolerated = committee(members) if members else (0, 0)
    enrolment, server = EnrolmentKey.generate(), Identity.generate("server", 0)
    clients = [Identity.generate("client", number) for number in range(cohort)]
    holders = [Identity.generate("decryptor", number) for number in range(members)]
    roster = Roster(
        server.public, tuple(each.public for each in clients), tuple(each.public for each in holders), threshold,
        tolerated,
    )  # fmt: skip
    shares = [share.tolist() for share in np.array_split(np.arange(cohort), wanted.devices)]
    nodes = {layout.node(number).name: ("node", share) for number, share in enumerate(shares)}
    nodes |= {layout.decryptor(number).name: ("decryptor", [number]) for number in range(members)}
    node_keys = {name: new_node_key() for name in nodes}
    toml, digest = config.to_toml(), dataset.digest()
    # As of a run in one process, so that the same seed makes the same run.
    entropy = os.urandom(32) if config.seed is None else toml + digest.encode()
    beginnings = Beginnings.of(config.seed)
    federation = _federation(dataset, config, enrolment, roster, entropy, beginnings, cohort)
    federation.check()

    for folder in (layout.enrolment, layout.superlink, layout.server, *(layout.path / name for name in nodes)):
        folder.mkdir(mode=0o700)
    authority = new_authority(f"securerec federation {federation.run_id.hex()[:8]}")
    host = wanted.address.rpartition(":")[0].strip("[]")
    described = {
        name: {"role": role, "numbers": numbers, "key": public_to_hex(node_keys[name])}
        for name, (role, numbers) in nodes.items()
    }
    files = {"config.toml": toml, "catalogue.json": catalogue_bytes(dataset), "ca.crt": authority.certificate}
    files["nodes.json"] = (json.dumps(described, indent=1) + "\n").encode()
    files |= {setup_place(release): setup for release, setup in federation.setups.items()}
    make_public(layout.public, enrolment, federation, files, (members, threshold))
    write_superlink(layout.public, wanted.address)

    write_secret(layout.enrolment / "enrolment.key", enrolment.to_bytes())
    write_secret(layout.enrolment / "ca.key", authority.key)
    write_tls(layout, new_server_certificate(authority, dict.fromkeys((host, *wanted.hosts))))
    new_operator(layout)
    write_secret(layout.server / "identity.key", server.to_bytes())
    policy = policy_of(federation, server)
    for number, identity in enumerate(holders):
        folder = layout.decryptor(number)
        policy.write(folder / "policy.toml", decryptor=True)
        write_secret(folder / "identity.key", identity.to_bytes())
        write_secret(folder / "node.key", key_to_pem(node_keys[folder.name]))
        (folder / "answered").mkdir(mode=0o700)
        begin_records(folder / "answered", federation.setups)
    for number, share in enumerate(shares):
        folder = layout.node(number)
        own = beginnings if config.seed is not None else Beginnings.of(None)
        write_secret(folder / "node.key", key_to_pem(node_keys[folder.name]))
        write_secret(folder / "noise.key", own.noise)
        write_secret(folder / "training.key", own.training)
        for client in share:
            write_secret(folder / "identities" / f"{client}.key", clients[client].to_bytes())
        policy.write(folder / "policy.toml")
        _fill_store(folder, share, dataset)


def _federation(
    dataset: Dataset, config: Config, enrolment: EnrolmentKey, roster: Roster, entropy: bytes, beginnings: Beginnings,
    cohort: int,
) -> Federation:  # fmt: skip
    run_id = hashlib.sha256(b"securerec run id" + entropy).digest()[:16]
    test_mode = config.seed is not None
    bare = Federation(
        config, public_features(dataset), run_id, beginnings.initial_values, cohort, enrolment.public, {}, test_mode
    )
    signed = roster.sign(enrolment)
    try:
        setups = {
            name: Setup(config.protocol.protocol, promise.spec(cohort), run_id, signed).signed(enrolment).to_bytes()
            for name, promise in bare.promises().items()
        }
    except ProtocolError as error:
        raise ConfigError(str(error)) from None
    return Federation(
        config, bare.features, run_id, beginnings.initial_values, cohort, enrolment.public, setups, test_mode
    )


def make_public(
    public: Path, enrolment: EnrolmentKey, federation: Federation, files: dict[str, bytes], members: tuple[int, int]
) -> None:
    """Write `public/` and sign it. files: by place; members: (members, threshold) of the committee."""
    start = Start(
        FORMAT, version("securerec"), federation.run_id.hex(), federation.initial_values.hex(), federation.cohort,
        federation.n_items, tuple(federation.setups), *members, federation.test_mode,
        {place: fingerprint(content) for place, content in sorted(files.items())},
    ).to_bytes()  # fmt: skip
    for place, content in files.items():
        write_atomic(public / place, content)
    write_atomic(public / "enrolment.pub", enrolment.public)
    write_atomic(public / "start.json", start)
    write_atomic(public / "start.sig", enrolment.sign(LABEL, start))


def write_tls(layout: Layout, signed: Signed) -> None:
    """The SuperLink's certificate and key."""
    write_secret(layout.superlink / "tls.key", signed.key)
    write_atomic(layout.superlink / "tls.crt", signed.certificate)


def new_operator(layout: Layout) -> None:
    """The secret that the server and the SuperLink share, and nobody else."""
    secret = secrets.token_bytes(OPERATOR_BYTES)
    for folder in (layout.superlink, layout.server):
        write_secret(folder / "operator.key", secret)


def policy_of(federation: Federation, server: Identity) -> Policy:
    """What a device allows that takes part in this run and in nothing beyond it."""
    privacy, promises = federation.config.privacy, federation.promises()
    events: list[Event] = [
        promises[each.name].event(each.name)
        for each in planned(federation.config, federation.n_items)
        for _ in range(each.count)
    ]
    if any(isinstance(event, Unprotected) for event in events):
        epsilon = math.inf
    else:
        epsilon = central_epsilon(tuple(events), delta=privacy.delta).epsilon * MARGIN
    return Policy(
        enrolment=federation.enrolment.hex(), servers=(server.public.signing.hex(),),
        min_cohort=min(promise.min_survivors for promise in promises.values()),
        protocols=(federation.config.protocol.protocol,), max_epsilon=epsilon, max_epsilon_day=epsilon,
        delta=privacy.delta, reproducible_noise=federation.test_mode,
    )  # fmt: skip


def _fill_store(folder: Path, share: list[int], dataset: Dataset) -> None:
    """The training lists of a node's devices. What evaluation holds back of each stays out of the federation."""
    train = leave_one_out(dataset.interactions).train
    lists = Interactions.from_lists([train.of(client).tolist() for client in share], train.n_items)
    store = Store.create(folder / "store", KeyFile.make(folder / "store.key"))
    write_interactions(store, OwnInteractions(np.array(share, np.int64), lists))
