"""What secure sums cost: bytes, milliseconds, memory and exactness of whole rounds, each party's part by itself.

A round is played by two processes: the server in one, so that its memory can be measured, all others in the other. They
exchange the protocol's messages and nothing else.
"""

import gc
import multiprocessing
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

import numpy as np
from numpy.typing import NDArray

import protocols
from protocols.codec import read_frame
from protocols.pairwise.graph import Tolerance
from securerec.errors import RunError

NOISE_SIGMA = 2.0
"""Deviation of each client's noise: the least that `securerec run` adds."""

NAIVE = "naive-ckks-vector"
NAIVE_CLIENTS = 20
WARM_UP_CLIENTS = 10


@dataclass(frozen=True, slots=True)
class Setting:
    """A sum of `clients` vectors of `length` values that fit `bits` bits before noise.

    dropouts: share of the clients that are gone when uploads are due.
    """

    protocol: str
    length: int
    clients: int
    bits: int
    dropouts: float = 0.0

    def spec(self) -> protocols.SumSpec:
        return protocols.SumSpec(
            length=self.length,
            max_clients=self.clients,
            min_clients=max(1, int(self.clients * 0.6)),
            value_bound=(1 << (self.bits - 1)) - 1,
            noise_sigma=NOISE_SIGMA,
        )

    def values(self, client: int) -> NDArray[np.int64]:
        """A client's vector, the same at each call: extreme values at both ends, noise on all."""
        rng = np.random.default_rng([self.length, self.bits, client])
        bound = self.spec().value_bound
        values = rng.integers(-bound, bound + 1, self.length)
        edge = min(64, self.length // 2)
        values[:edge], values[-edge:] = bound, -bound
        return values + np.rint(rng.normal(0, NOISE_SIGMA, self.length)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Cost:
    """One row. upload_bytes: all that one client sends in a round, the largest; expansion: over 4 bytes a value.

    client_ms: all of one client's work, median; server_ms: a client's share of receiving; opening_ms: from the last
    upload to the sum, the server's and the slowest decryptor's work; decryptor_bytes: what one decryptor gets and
    sends; wrong: values that differ from the plain sum; peak_mb: how much the server's memory grew at its peak.
    """

    protocol: str
    parameters: str
    length: int
    clients: int
    bits: int
    upload_bytes: int
    expansion: float
    client_ms: float
    server_ms: float
    opening_ms: float
    decryptor_bytes: int
    wrong: int
    peak_mb: float | None


def measure(setting: Setting) -> Cost:
    """Play one round in fresh processes. Raises ProtocolError for what cannot be summed."""
    function = _naive if setting.protocol == NAIVE else _serve
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
        small = replace(setting, clients=min(setting.clients, WARM_UP_CLIENTS))
        _serve_round(small, _server(here), 0, here)
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
    rng = np.random.default_rng(round_number)
    gone = set(rng.choice(setting.clients, int(setting.dropouts * setting.clients), replace=False).tolist())
    sent: dict[protocols.Address, int] = defaultdict(int)
    got: dict[protocols.Address, int] = defaultdict(int)
    spent: dict[protocols.Address, float] = defaultdict(float)
    receiving = closing = 0.0
    server_round = server.open_round(round_number, context=bytes(32), min_survivors=setting.spec().min_clients)
    left = False
    while not server_round.done:
        left = left or server_round.phase == "upload"
        for to, message in server_round.outbox().items():
            if to.role == "client" and to.number in gone and left:
                continue
            pipe.send((to, message))
            answer, seconds = pipe.recv()
            spent[to] += seconds
            got[to] += len(message)
            sent[to] += len(answer)
            started = time.perf_counter()
            server_round.receive(answer)
            receiving += time.perf_counter() - started
        started = time.perf_counter()
        server_round.close_phase()
        closing += time.perf_counter() - started
    pipe.send((None, None))
    result = server_round.result
    expected = sum((setting.values(client) for client in result.survivors), np.zeros(setting.length, np.int64))
    clients = [address for address in sent if address.role == "client"]
    decryptors = [address for address in sent if address.role == "decryptor"]
    upload = max(sent[address] for address in clients)
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
        1000 * (closing + max((spent[address] for address in decryptors), default=0.0)),
        max((got[address] + sent[address] for address in decryptors), default=0),
        int((result.values != expected).sum()),
        None,
    )


def _server(pipe: Connection) -> protocols.Server:
    setup, identity, enrolment_public = pipe.recv()
    return protocols.server(setup, protocols.Identity.from_bytes(identity), enrolment_public)


def _play_parties(setting: Setting, pipe: Connection) -> None:
    """Everybody but the server: first of a small sum, one round, then of the one to be measured."""
    small = replace(setting, clients=min(setting.clients, WARM_UP_CLIENTS))
    for each, rounds in ((small, 1), (setting, 2)):
        _play_rounds(each, rounds, pipe)


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


def _naive(setting: Setting) -> Cost:
    """TenSEAL's tutorial way: one ckks_vector a client, 8192 [60, 40, 40, 60], scale 2^40, serialised whole."""
    import tenseal as ts

    # This process's own: TenSEAL tells standard output what its vectors cannot do, which no sum needs.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    clients = min(setting.clients, NAIVE_CLIENTS)
    context = ts.context(ts.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 40, 60], n_threads=1)
    context.global_scale = 2.0**40
    public = ts.context_from(context.serialize(save_secret_key=False))
    total, size = None, 0
    times: dict[str, list[float]] = defaultdict(list)
    for client in range(clients):
        values = setting.values(client).astype(np.float64)
        clock = time.perf_counter()
        upload = ts.ckks_vector(public, values).serialize()
        times["client"].append(time.perf_counter() - clock)
        size = max(size, len(upload))
        clock = time.perf_counter()
        loaded = ts.ckks_vector_from(public, upload)
        total = loaded if total is None else total + loaded
        times["server"].append(time.perf_counter() - clock)
    assert total is not None
    total = ts.ckks_vector_from(context, total.serialize())
    clock = time.perf_counter()
    opened = np.rint(total.decrypt()).astype(np.int64)
    opening = time.perf_counter() - clock
    expected = np.sum([setting.values(client) for client in range(clients)], axis=0)
    return Cost(
        NAIVE, "8192 [60,40,40,60] 2^40", setting.length, clients, setting.bits, size, size / (4 * setting.length),
        1000 * statistics.median(times["client"]), 1000 * statistics.median(times["server"]), 1000 * opening,
        0, int((opened != expected).sum()), None,
    )  # fmt: skip


def settings(
    names: list[str], lengths: list[int], clients: list[int], bits: list[int], dropouts: float
) -> Iterator[Setting]:
    """The grid, and the naive way once for each length and bit width."""
    for length in lengths:
        for width in bits:
            for name in names:
                for n in clients:
                    yield Setting(name, length, n, width, dropouts)
            yield Setting(NAIVE, length, max(clients), width)


def _restart_peak() -> float:
    """MB resident now; the peak is measured from here."""
    gc.collect()
    with suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return _status_mb("VmRSS")


def _status_mb(name: str) -> float:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(f"{name}:"))
