"""What secure sums cost: bytes, milliseconds, memory and exactness of whole rounds, each party's part by itself.

A round is played by two processes: the server in one, so that its memory can be measured, all others in the other. They
exchange the protocol's messages and nothing else.
"""

import gc
import multiprocessing
import statistics
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import protocols
from protocols.codec import read_frame
from protocols.pairwise.graph import Tolerance
from securerec.errors import RunError
from securerec.experiments.other_sums import FLOWER, NAIVE, flower, naive
from securerec.experiments.sum_settings import Cost, Setting
from securerec.federation.spool import Spool

WARM_UP_CLIENTS = 10
AT_ONCE = 8
"""Clients' answers that wait when the server turns to them; where clients are many, some always do."""


def measure(setting: Setting) -> Cost:
    """Play one round in fresh processes. Raises ProtocolError for what cannot be summed."""
    function = {NAIVE: naive, FLOWER: flower}.get(setting.protocol, _serve)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as executor:
        return executor.submit(function, setting).result()


def message_sizes(protocol: str, length: int, clients: int, bits: int) -> dict[str, int]:
    """Bytes of each kind of message of a round, the largest of its kind, by "sender kind"."""
    setting = Setting(protocol, length, clients, bits)
    enrolled = protocols.enrol(protocol, setting.spec(), run_id=b"sizes", client_ids=range(clients))
    parties = protocols.LocalParties(enrolled)
    parties.values = {client: setting.values(client) for client in range(clients)}
    sizes: dict[str, int] = defaultdict(int)

    def deliver(to: protocols.Address, message: bytes) -> bytes | None:
        answer = parties(to, message)
        for each in (message, answer):
            if each is not None:
                header = read_frame(each).header
                key = f"{header.sender.role} {header.kind.name.lower()}"
                sizes[key] = max(sizes[key], len(each))
        return answer

    server_round = enrolled.server().open_round(0, context=bytes(32), min_survivors=setting.spec().min_clients)
    protocols.conduct(server_round, deliver)
    return {"setup": len(enrolled.setup)} | dict(sizes)


def _serve(setting: Setting) -> Cost:
    """The server's process."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    others = spawn.Process(target=_play_parties, args=(setting, there))
    others.start()
    there.close()
    try:
        # What the first use of a code path loads and compiles is not a round's cost: a small sum goes first.
        _serve_round(_small(setting), _server(here), 0, here)
        server, before = _server(here), _restart_peak()
        # The first round agrees on keys that later ones find again: memory is that of both, times are the second's.
        _serve_round(setting, server, 0, here)
        cost = _serve_round(setting, server, 1, here)
        return replace(cost, peak_mb=max(0.0, _status_mb("VmHWM") - before))
    except (EOFError, BrokenPipeError):
        raise RunError(
            f"the parties of a sum by {setting.protocol} ended before it did: see their message above"
        ) from None
    finally:
        here.close()
        others.join(10)
        others.kill()


def _serve_round(setting: Setting, server: protocols.Server, round_number: int, pipe: Connection) -> Cost:
    with Spool(Path(tempfile.gettempdir())) as spool:
        server_round = server.open_round(
            round_number, context=bytes(32), min_survivors=setting.spec().min_clients, spool=spool
        )
        return _play_server(setting, server, server_round, pipe)


def _play_server(
    setting: Setting, server: protocols.Server, server_round: protocols.ServerRound, pipe: Connection
) -> Cost:
    rng = np.random.default_rng(server_round.broadcast.round_number)
    gone: set[protocols.Address] = set()
    sent: dict[protocols.Address, int] = defaultdict(int)
    got: dict[protocols.Address, int] = defaultdict(int)
    spent: dict[protocols.Address, float] = defaultdict(float)
    # The server's work: what it does with clients' messages, and all the rest.
    receiving = opening = 0.0
    while not server_round.done:
        outbox = server_round.outbox()
        if server_round.phase == setting.dropouts_at and not gone:
            asked = sorted(outbox)
            picked = rng.choice(len(asked), int(setting.dropouts * len(asked)), replace=False)
            gone = {asked[i] for i in picked.tolist()}
        working = 0.0
        to_clients = any(to.role == "client" for to in outbox)
        there = [to for to in outbox if to not in gone]
        at_once = AT_ONCE if to_clients else 1
        for few in (there[at : at + at_once] for at in range(0, len(there), at_once)):
            started = time.perf_counter()
            messages = [(to, outbox[to]) for to in few]
            working += time.perf_counter() - started
            answers = []
            for to, message in messages:
                pipe.send((to, message))
                answer, seconds = pipe.recv()
                spent[to] += seconds
                got[to] += len(message)
                sent[to] += len(answer)
                answers.append(answer)
            started = time.perf_counter()
            for answer in answers:
                server_round.receive(answer)
            working += time.perf_counter() - started
        started = time.perf_counter()
        server_round.close_phase()
        closing = time.perf_counter() - started
        # What has to be ready before clients are asked again is work for clients, too.
        if to_clients and any(to.role == "client" for to in server_round.outbox()):
            working += closing
        else:
            opening += closing
        if to_clients:
            receiving += working
        else:
            opening += working
    pipe.send((None, None))
    result = server_round.result
    expected = sum((setting.values(client) for client in result.survivors), np.zeros(setting.length, np.int64))
    clients = [address for address in sent if address.role == "client"]
    decryptors = [address for address in sent if address.role == "decryptor"]
    upload = max(sent[address] for address in clients)
    slowest = max((spent[address] for address in decryptors), default=0.0)
    return Cost(
        setting.protocol,
        server.parameters,
        setting.length,
        setting.clients,
        setting.bits,
        upload,
        upload / (4 * setting.length),
        1000 * statistics.median(spent[address] for address in clients),
        1000 * receiving / setting.clients,
        1000 * (opening + slowest),
        1000 * slowest,
        max((got[address] + sent[address] for address in decryptors), default=0),
        int((result.values != expected).sum()),
        None,
    )


def _server(pipe: Connection) -> protocols.Server:
    setup, identity, enrolment_public = pipe.recv()
    return protocols.server(setup, protocols.Identity.from_bytes(identity), enrolment_public)


def _play_parties(setting: Setting, pipe: Connection) -> None:
    """Everybody but the server: first of a small sum, one round, then of the one to be measured."""
    for each, rounds in ((_small(setting), 1), (setting, 2)):
        _play_rounds(each, rounds, pipe)


def _small(setting: Setting) -> Setting:
    return replace(setting, clients=min(setting.clients, WARM_UP_CLIENTS), dropouts=0.0)


def _play_rounds(setting: Setting, rounds: int, pipe: Connection) -> None:
    # Masks between neighbours are laid out for the dropouts that a round must withstand.
    tolerance = Tolerance(dropout=max(0.1, round(setting.dropouts, 3)))
    enrolled = protocols.enrol(
        setting.protocol, setting.spec(), run_id=b"bench", client_ids=range(setting.clients),
        options=tolerance.encode() if setting.protocol == "pairwise" else b"",
    )  # fmt: skip
    parties = protocols.LocalParties(enrolled)
    parties.values = _Values(setting)
    pipe.send((enrolled.setup, enrolled.server_identity.to_bytes(), enrolled.enrolment.public))
    while True:
        try:
            to, message = pipe.recv()
        except EOFError:
            return
        if message is None:
            rounds -= 1
            if rounds == 0:
                return
            continue
        if to.role == "client":
            parties.values.prepare(to.number)
        started = time.perf_counter()
        answer = parties(to, message)
        seconds = time.perf_counter() - started
        if answer is None:
            raise parties.refusals[to]
        pipe.send((answer, seconds))


class _Values(dict[int, NDArray[np.int64]]):
    """The vector of the client that speaks next, made before its time is taken."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self._setting = setting

    def prepare(self, client: int) -> None:
        self.clear()
        self[client] = self._setting.values(client)


def _restart_peak() -> float:
    """MB resident now; the peak is measured from here."""
    gc.collect()
    with suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return _status_mb("VmRSS")


def _status_mb(name: str) -> float:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(f"{name}:"))
