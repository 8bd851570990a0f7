"""What runs in each process of a federation: the SuperLink, a party with its own folder, the server.

Each is given its own folder and `public/`, and nothing else.
"""

import logging
import os
import threading
import time
from pathlib import Path

from protocols.setup import Setup
from securerec.deploy.certificates import key_from_pem, public_from_hex
from securerec.deploy.layout import OPERATOR_BYTES, Public, is_node, node_identities, read_identity, read_secret
from securerec.deploy.metrics import Metrics, serve_metrics
from securerec.deploy.watching import METRICS, WatchedExchange, observer, teller
from securerec.device.folder import open_store
from securerec.device.ledger import DeviceLedger
from securerec.device.policy import Policy
from securerec.device.store import StoreError, held
from securerec.errors import RunError
from securerec.federation.flower import pinned
from securerec.federation.identity import TRAINING_KEY_BYTES
from securerec.federation.parties.attempt import Deadlines
from securerec.federation.parties.exchange import Party
from securerec.federation.parties.member import Member
from securerec.federation.parties.node import Node
from securerec.federation.parties.server import ServerRun
from securerec.privacy.randomness import KEY_BYTES, NoiseKey

_logger = logging.getLogger("securerec.deploy")

POLL_SECONDS = 0.2
PASSPHRASE = "SECUREREC_PASSPHRASE"
SUPERLINK_SECONDS = 120.0
"""How long the server waits for the SuperLink to answer."""


def run_superlink(folder: Path, public: Path, *, host: str | None = None) -> None:
    """Relay until the process is ended. host: to listen on, the one in `superlink.json` if None."""
    pinned.prepare(folder / "flower")
    from securerec.federation.flower.superlink import run_superlink as serve

    named, _, port = Public.open(public).superlink().rpartition(":")
    read_secret(folder / "tls.key")  # refused where others may read it; Flower reads it itself
    (folder / "flower").mkdir(mode=0o700, exist_ok=True)
    _logger.info("relaying", extra={"fields": {"port": int(port)}})
    serve(
        host=host or named.strip("[]"), port=int(port), certificate=folder / "tls.crt", key=folder / "tls.key",
        ca=public / "ca.crt", operator=read_secret(folder / "operator.key", OPERATOR_BYTES), log_level="warning",
    )  # fmt: skip


def make_party(folder: Path, public: Public, policy: Policy) -> Party:
    """The node or decryptor whose secrets lie in `folder`. Raises what their constructors raise, and PolicyRefused for
    a server or protocol that a decryptor's policy does not name; a node looks at each broadcast.
    """
    federation = public.federation()
    if is_node(folder):
        training = read_secret(folder / "training.key", TRAINING_KEY_BYTES)
        return Node(
            federation, node_identities(folder),
            noise_key=NoiseKey.from_bytes(read_secret(folder / "noise.key", KEY_BYTES + 1)),
            training_key=int.from_bytes(training, "little"), store=open_store(folder, _passphrase), policy=policy,
            ledger=DeviceLedger(folder / "ledger.jsonl"),
        )  # fmt: skip
    for setup in map(Setup.from_bytes, federation.setups.values()):
        policy.check_server(setup.verify(federation.enrolment).server.signing, setup.protocol, who="decryptor")
    identity = read_identity(folder / "identity.key")
    return Member(federation, identity, folder / "answered", min_cohort=policy.min_cohort)


def _passphrase() -> str:
    """Of a store that a passphrase opens: nobody sits before a process that starts with the machine."""
    if not (text := os.environ.get(PASSPHRASE, "")):
        raise StoreError(f"the store is opened with a passphrase: start this process with it in {PASSPHRASE}")
    return text


def run_party(folder: Path, public_path: Path, *, stop: threading.Event, poll: float = POLL_SECONDS) -> None:
    """Answer letters until `stop`. Raises RunError, ConfigError or PolicyRefused for what does not fit together."""
    pinned.prepare(folder / "flower")
    from securerec.federation.flower.client_app import client_app
    from securerec.federation.flower.supernode import Link, serve

    policy = Policy.read(folder / "policy.toml", decryptor=not is_node(folder))
    public = Public.open(public_path, pinned=policy.pinned)
    key = key_from_pem(read_secret(folder / "node.key"), what=str(folder / "node.key"))
    with held(folder):
        party = make_party(folder, public, policy)
        link = Link(public.superlink(), public.ca.read_bytes(), poll=poll, memory=folder / "flower" / "number")
        _logger.info("ready", extra={"fields": {"process": os.getpid()}})
        serve(client_app(party), link, key, stop=stop.is_set)


def run_server(
    folder: Path, public_path: Path, *, metrics_port: int | None = None, deadlines: Deadlines | None = None,
    poll: float = POLL_SECONDS,
) -> None:  # fmt: skip
    """Play the federation's run to its end, through crashes of the SuperLink. Raises what `ServerRun.play` raises."""
    pinned.prepare(folder / "flower")
    import httpx

    from securerec.federation.flower.exchange import Expected, FlowerExchange
    from securerec.federation.flower.operator import Operator
    from securerec.federation.flower.supernode import Link

    public = Public.open(public_path)
    federation, identity = public.federation(), read_identity(folder / "identity.key")
    metrics = Metrics(METRICS)
    metrics.set("securerec_rounds_planned", federation.rounds)
    if metrics_port is not None:
        serving = serve_metrics(metrics, metrics_port)
        _logger.info("metrics", extra={"fields": {"address": f"http://127.0.0.1:{serving.server_port}/metrics"}})
    secret = read_secret(folder / "operator.key", OPERATOR_BYTES)
    operator = Operator(Link(public.superlink(), public.ca.read_bytes()), secret)
    enrolled = public.nodes()
    (folder / "run").mkdir(mode=0o700, exist_ok=True)
    while True:
        _await(operator.reachable, f"the SuperLink at {public.superlink()} does not answer: start it first")
        try:
            numbers = operator.register({name: public_from_hex(each.key) for name, each in enrolled.items()})
            expected = {name: Expected(numbers[name], each.role, each.numbers) for name, each in enrolled.items()}
            with operator.run() as grid:
                exchange = WatchedExchange(
                    FlowerExchange(grid, expected, poll=poll), folder / "run" / "letters.jsonl", metrics
                )
                ServerRun(
                    folder / "run", federation, identity, exchange, deadlines=deadlines, observe=observer(metrics),
                    tell=teller(metrics),
                ).play()  # fmt: skip
            _logger.info("run done", extra={"fields": {"rounds": federation.rounds}})
            return
        except httpx.HTTPError as error:
            _logger.warning("lost the SuperLink", extra={"fields": {"error": type(error).__name__}})
            time.sleep(1.0)


def _await(reachable: object, otherwise: str) -> None:
    end = time.monotonic() + SUPERLINK_SECONDS
    while not reachable():  # type: ignore[operator]
        if time.monotonic() > end:
            raise RunError(otherwise)
        time.sleep(0.2)
