"""The decoders: what each reads, in which state, and who could have signed it.

A target's `make` returns a reader in a fresh state: called with bytes, it returns where they are accepted and raises a
ProtocolError where they are refused. What it accepts it also acts on: a server's round is played to its end, a client
uploads. So a reader that lets nonsense in has to live with it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from itertools import chain

import numpy as np

from protocols import parties
from protocols.broadcast import BROADCAST_BYTES
from protocols.codec import MAGIC, UPLOADS, read_frame
from protocols.errors import ProtocolError
from protocols.fuzzing.mutate import mutated, signed_header, signed_nested, written
from protocols.fuzzing.recorded import CLIENTS, SPEC, Exchange, Recorded, Role, Step, fork
from protocols.identity import SIGNATURE_BYTES, Address, EnrolmentKey, Identity, PublicIdentity
from protocols.registry import PROTOCOLS
from protocols.roles.client import ClientRound
from protocols.roster import Roster
from protocols.setup import Setup

Reader = Callable[[bytes], None]

_UNSIGNED = (0, 50)
"""Of a setup: header, specification, run id; before the roster and keys, which somebody signed."""


class WronglyAccepted(Exception):
    """A reader took in what it should have refused, as its own oracle says."""


@dataclass(frozen=True)
class Mutant:
    """acceptable: its sender really said so, or nobody signs such bytes; a reader may take it if it is well formed.

    signed: by who could have sent it; a refusal may then end the reader's part in the round.
    """

    data: bytes
    acceptable: bool
    signed: bool


@dataclass(frozen=True)
class Target:
    """sample: an honest message. make: see above. signer: who signs or seals such messages; None where nobody does.
    reader: for whom, if it is a frame.

    others: honest messages of other kinds and parties, to splice with. forgiving: a refused message leaves the reader
    as it was even if its sender signed it; an unsigned one always does. focus: from where to where in the body, or in
    what nobody signs, half of the mutants are changed: what is around it is only ever refused when it is changed.
    """

    name: str
    sample: bytes = field(repr=False)
    make: Callable[[], Reader] = field(repr=False)
    signer: Identity | EnrolmentKey | None = field(repr=False)
    reader: PublicIdentity | None = field(default=None, repr=False)
    others: tuple[bytes, ...] = field(default=(), repr=False)
    forgiving: bool = True
    focus: tuple[int, int | None] = (0, None)

    def mutant(self, rng: np.random.Generator) -> Mutant:
        """A message that is not the sample; half of those that somebody signs are signed."""
        while True:
            found = self._mutant(rng)
            if found.data != self.sample and found.data not in self.others:
                return found

    def signed(self, body: bytes) -> bytes:
        """A message of this target's kind with this body, signed or sealed where somebody does that."""
        if isinstance(self.signer, Identity):
            assert self.reader is not None
            header = replace(read_frame(self.sample).header, body_bytes=len(body))
            return written(header, body, self.signer, self.reader)
        return body + self.signer.sign("roster", body) if self.signer else body

    def _mutant(self, rng: np.random.Generator) -> Mutant:
        if self.signer is None:
            return Mutant(self._changed(self.sample, rng, self.others), acceptable=True, signed=False)
        if rng.integers(2):
            return Mutant(mutated(self.sample, rng, self.others), acceptable=False, signed=False)
        if isinstance(self.signer, EnrolmentKey):
            body = mutated(self.sample[:-SIGNATURE_BYTES], rng)
            return Mutant(self.signed(body), acceptable=True, signed=True)
        frame = read_frame(self.sample)
        if rng.random() < 0.15:
            assert self.reader is not None
            return Mutant(signed_header(frame, self.signer, self.reader, rng), acceptable=False, signed=True)
        if bytes(frame.body[: len(MAGIC)]) == MAGIC and rng.random() < 0.2:
            return Mutant(signed_nested(frame, self.signer, rng), acceptable=True, signed=True)
        body = self._changed(bytes(frame.body), rng, self._other_bodies)
        return Mutant(self.signed(body), acceptable=True, signed=True)

    def _changed(self, data: bytes, rng: np.random.Generator, others: tuple[bytes, ...]) -> bytes:
        start, stop, _ = slice(*self.focus).indices(len(data)) if rng.integers(2) else (0, len(data), 1)
        return data[:start] + mutated(data[start:stop], rng, others) + data[stop:]

    @cached_property
    def _other_bodies(self) -> tuple[bytes, ...]:
        return tuple(bytes(read_frame(data).body) for data in self.others)


@lru_cache(maxsize=1)
def targets() -> dict[str, Target]:
    """All there are, by name. A round of each protocol is played for them."""
    found = chain(_of_the_enrolment(), *(_of_a_protocol(name, Recorded(name)) for name in PROTOCOLS))
    return {target.name: target for target in found}


def _of_the_enrolment() -> Iterator[Target]:
    identity, key = Identity.generate("client", 7), EnrolmentKey.generate()

    def read_identity(data: bytes) -> None:
        if Identity.from_bytes(data).to_bytes() != data:
            raise WronglyAccepted("other bytes than its own stand for an identity")

    yield Target("identity", identity.to_bytes(), lambda: read_identity, None)
    roster = Roster(
        Identity.generate("server", 0).public,
        tuple(Identity.generate("client", number).public for number in (1, 5, 7)),
        tuple(Identity.generate("decryptor", number).public for number in range(4)),
        threshold=3,
        tolerated=1,
    )

    def read_roster(data: bytes) -> None:
        if Roster.verify(data, key.public).sign(key) != data:
            raise WronglyAccepted("other bytes than its own stand for a roster")

    yield Target("roster", roster.sign(key), lambda: read_roster, key)


def _of_a_protocol(name: str, recorded: Recorded) -> Iterator[Target]:
    messages = tuple(data for step in recorded.steps for e in step.exchanges for data in (e.message, e.answer))
    yield Target(f"{name}: setup", recorded.run.setup, lambda: partial(_read_setup, recorded), None, focus=_UNSIGNED)
    yield Target(
        f"{name}: broadcast to a client",
        recorded.broadcast,
        lambda: _client_joins(recorded),
        recorded.run.server_identity,
        recorded.identity(Address("client", CLIENTS[1])).public,
        messages,
    )
    for number, step in enumerate(recorded.steps):
        if step.phase.party == "decryptor":
            # The first member's share is a seed, the last one's is written out.
            asked = dict.fromkeys((step.exchanges[0].to, step.exchanges[-1].to))
        else:
            asked = dict.fromkeys((step.exchanges[1].to,))
        for exchange in (exchange for exchange in step.exchanges if exchange.to in asked):
            yield from _of_an_exchange(name, recorded, number, step, exchange, messages)


def _of_an_exchange(
    name: str, recorded: Recorded, number: int, step: Step, exchange: Exchange, messages: tuple[bytes, ...]
) -> Iterator[Target]:
    before, place = exchange.before, exchange.to
    others = tuple(data for data in messages if data not in (exchange.message, exchange.answer))
    if before is not None:
        yield Target(
            f"{name}: {step.phase.sends.name.lower()} to {place}",
            exchange.message,
            lambda: partial(_answers, fork(before)),
            recorded.run.server_identity,
            recorded.identity(place).public,
            others,
            # A client leaves the round; the one decryptor of ckks has spent it when what it decrypts is out of range.
            forgiving=not isinstance(before, ClientRound) and name != "ckks",
            focus=(BROADCAST_BYTES if place.role == "decryptor" else 0, None),
        )
    yield Target(
        f"{name}: {step.phase.answers.name.lower()} of {place}",
        exchange.answer,
        lambda: _server_receives(recorded, number, exchange),
        recorded.identity(place),
        recorded.run.server_identity.public,
        others,
        # A decryptor's answer begins with the signature of what it answers.
        focus=(SIGNATURE_BYTES if place.role == "decryptor" else 0, None),
    )


def _client_joins(recorded: Recorded) -> Reader:
    client = recorded.run.client(CLIENTS[1], min_survivors=2)

    def read(data: bytes) -> None:
        joined = client.join(data)
        joined.provide(recorded.values[CLIENTS[1]])
        joined.answer(data)

    return read


def _answers(party: Role, data: bytes) -> None:
    party.answer(data)


def _server_receives(recorded: Recorded, step: int, exchange: Exchange) -> Reader:
    opened = recorded.server_before(step, exchange.to)
    # An upload may hold any numbers, and so may the answer of a decryptor that is alone. All else leaves the sum exact.
    free = read_frame(exchange.answer).header.kind in UPLOADS or recorded.run.protocol == "ckks"

    def read(data: bytes) -> None:
        if opened.receive(data) != exchange.to:
            raise WronglyAccepted("the server took it for somebody else's")
        result = recorded.finish(opened, step)
        if result is None:
            if data == exchange.answer:
                raise WronglyAccepted("an honest round was given up")
        elif data != exchange.answer and free:
            if int(np.abs(result.values).max()) > SPEC.sum_bound_of(len(result.survivors)):
                raise WronglyAccepted("what was opened is beyond its bound")
        elif (result.values != np.sum([recorded.values[client] for client in result.survivors], axis=0)).any():
            raise WronglyAccepted("what was opened is not the sum")

    return read


def _read_setup(recorded: Recorded, data: bytes) -> None:
    """Every role is made from it. Nobody signs a setup as a whole: what protects a run is that parties made from
    another one do not understand its messages.
    """
    run, setup = recorded.run, Setup.from_bytes(data)
    if setup.to_bytes() != data:
        raise WronglyAccepted("other bytes than its own stand for a setup")
    parties.server(data, run.server_identity, run.enrolment.public)
    client = parties.client(data, run.client_identities[CLIENTS[1]], run.enrolment.public, min_survivors=1)
    for decryptor in run.decryptors.values() if PROTOCOLS[setup.protocol].decryptor else ():
        identity, key = decryptor.session.identity, getattr(decryptor, "_key", None)
        parties.decryptor(data, identity, run.enrolment.public, answered={}, key=key)
    try:
        client.join(recorded.broadcast)
    except ProtocolError:
        if data == run.setup:
            raise
        return
    if data != run.setup:
        raise WronglyAccepted("a client made from another setup joined this run's round")
