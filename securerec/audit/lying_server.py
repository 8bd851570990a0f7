"""Plays the rounds of a lying server with what `securerec run` is made of: the trainer, the devices with their guards,
and a real protocol. `attacks.lying_server` makes the tables and reads the sums.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

import protocols
from attacks.attempts import Attempt
from attacks.findings import Finding
from attacks.lying_server import ATTACKS, Played, Refused, Situation, TableAttack, demonstrate
from attacks.views import Truth
from protocols.errors import ProtocolError
from securerec.config import Config
from securerec.data.dataset import Dataset
from securerec.data.interactions import Interactions
from securerec.data.splits import leave_one_out
from securerec.errors import ConfigError, SecurerecError
from securerec.federation.devices import DeviceHost, Enrolment, LocalUpdates
from securerec.federation.guards import NO_GUARDS, Guards, Origin, Table, table_digest
from securerec.federation.promise import Promise, make_promises, planned
from securerec.models.pfedrec import PFedRec, ScoreFunctions
from securerec.privacy.randomness import NoiseKey
from securerec.training.cohort import CohortTrainer
from securerec.training.draws import Draws

GUARDS = {
    "no guards": NO_GUARDS,
    "table agreement": replace(NO_GUARDS, agreement=True),
    "all but table agreement": replace(Guards(), agreement=False),
    "all guards": Guards(),
}
"""What devices check: nothing; what different tables run into first; what crafted ones do; everything."""


class Stage:
    """A cohort before some round, ready to be lied to. Its devices train as in a run; nothing they play is kept."""

    def __init__(
        self, train: Interactions, model: PFedRec, promise: Promise, *, round_number: int, server_lr: float, seed: int
    ) -> None:
        """Play the rounds before `round_number` honestly, in the clear. seed: of everything but keys."""
        self._trainer = CohortTrainer(model, train, train)
        self._promise, self._seed, self._server_lr = promise, seed, server_lr
        self._noise_key = NoiseKey.from_seed(seed)
        rng = np.random.default_rng(seed)
        self._start = table = model.initial_table(train.n_items, rng)
        functions = model.initial_functions(train.n_users, rng)
        initial_weights = functions.weights[0]
        quantiser = promise.quantiser
        for number in range(1, round_number):
            after, update, _ = self._trainer.train(table, functions, self._draws(number))
            total = np.zeros(quantiser.dimension, np.int64)
            for client in range(train.n_users):
                total += quantiser.privatise(*update.of(client), self._noise_key.stream("before", number, client))
            mean = total.reshape(table.shape) / (train.n_users * quantiser.scale)
            table, functions = (table + server_lr * mean).astype(np.float32), after
        self.situation = Situation(
            round_number, table, np.arange(train.n_users, dtype=np.int64), train.popularity(), train.n_users,
            initial_weights, round_number == 1, 1 / quantiser.scale,
        )  # fmt: skip
        self._functions = functions
        self.truth = Truth.from_lists(
            train.n_items, self.situation.clients, [train.of(user) for user in range(train.n_users)]
        )

    @classmethod
    def of(cls, dataset: Dataset, config: Config, *, clients: int, round_number: int, seed: int) -> "Stage":
        """The first `clients` users of a data set, training and noise as in a run of this resolved configuration."""
        train = leave_one_out(dataset.interactions).train
        cohort = min(clients, train.n_users)
        few = Interactions.from_lists([train.of(user).tolist() for user in range(cohort)], train.n_items)
        model = config.training.learner()
        if not isinstance(model, PFedRec):
            raise ConfigError(
                f"training.model {config.training.model} has no audit of a lying server: the tables that it would send "
                "are made for PFedRec's linear scores"
            )
        releases = planned(config, train.n_items)
        promise = make_promises(config.privacy, releases, cohort=cohort, noise_source="seed")["round"]
        server_lr = config.training.server_lr
        return cls(few, model, promise, round_number=round_number, server_lr=server_lr, seed=seed)

    @property
    def noised(self) -> bool:
        return self._promise.quantiser.client_sigma > 0

    def _draws(self, round_number: int) -> Draws:
        return self._trainer.draw(np.random.default_rng([self._seed, round_number]))

    def play(self, protocol: str, guards: Guards, tables: Mapping[int, Table]) -> Played:
        """One round in which each device gets the table named for it.

        The server signs one broadcast, for the table that most devices get, so that a protocol has nothing to object
        to. A device that refuses is gone. Raises Refused where the round is given up, with a device's words if any.
        """
        number, quantiser = self.situation.round_number, self._promise.quantiser
        sharing = _sharing(tables)
        updates = self._trained(sharing)
        spec = self._promise.spec(len(self.situation.clients))
        enrolled = protocols.enrol(protocol, spec, run_id=b"lying server", client_ids=self.situation.clients.tolist())
        origin = Origin.of(
            self._start, quantiser, min_survivors=self._promise.min_survivors, server_lr=self._server_lr, rounds=number
        )
        hosts = {
            client: DeviceHost(
                Enrolment(
                    enrolled.setup, enrolled.enrolment.public, {client: identity.to_bytes()},
                    self._noise_key.to_bytes(), quantiser, spec.min_clients, origin, self._trainer.model,
                    guards=guards,
                )
            )
            for client, identity in enrolled.client_identities.items()
        }  # fmt: skip
        for client, host in hosts.items():
            host.begin(updates[client])
        refusals: dict[int, str] = {}

        def deliver(to: protocols.Address, message: bytes) -> bytes | None:
            if to.role == "decryptor":
                return enrolled.decryptors[to.number].answer(message)
            try:
                return hosts[to.number].answer({to.number: message}).messages[to.number]
            except (ProtocolError, SecurerecError) as refusal:
                refusals[to.number] = str(refusal)
                return None

        signed = max(sharing, key=lambda each: len(each[1]))[0]
        try:
            opened = protocols.conduct(
                enrolled.server().open_round(number, context=table_digest(signed), min_survivors=spec.min_clients),
                deliver,
            )
        except ProtocolError as aborted:
            raise Refused(next(iter(refusals.values()), str(aborted))) from None
        return Played(opened.values.reshape(signed.shape) / quantiser.scale, refusals)

    def _trained(self, sharing: Sequence[tuple[Table, list[int]]]) -> dict[int, LocalUpdates]:
        """What each device trained from its own table. Everybody trains on every table; one result each is taken."""
        number = self.situation.round_number
        draws = self._draws(number)
        updates: dict[int, LocalUpdates] = {}
        for table, clients in sharing:
            after, update, _ = self._trainer.train(table, self._functions, draws)
            for client in clients:
                alone = np.array([client])
                functions = ScoreFunctions(after.weights[alone], after.biases[alone])
                updates[client] = LocalUpdates(number, table, alone, update.part(alone), functions, "lying server")
        return updates


def audit_lying_server(
    stages: Sequence[Stage],
    *,
    protocol: str,
    seed: int,
    guards: Mapping[str, Guards] = GUARDS,
    attacks: Sequence[TableAttack] = ATTACKS,
    rounds: int = 1,
) -> tuple[list[Attempt], list[Finding]]:
    """Every attack on every stage it can act on, against devices with these guards, through this protocol.

    rounds: how many rounds each attack plays, with other targets each time. What is read without guards and without
    noise is foreseen.
    """
    attempts: list[Attempt] = []
    findings: list[Finding] = []
    for attack, stage in itertools.product(attacks, stages):
        if attack.targets(stage.situation) == 0:
            continue
        for name, checked in guards.items():
            attempt, finding = demonstrate(
                attack, stage.situation, partial(stage.play, protocol, checked), stage.truth,
                against=f"{protocol}, {name}, round {stage.situation.round_number}",
                rng=np.random.default_rng(seed), rounds=rounds, foreseen=checked == NO_GUARDS and not stage.noised,
            )  # fmt: skip
            attempts.append(attempt)
            findings += [finding] if finding else []
    return attempts, findings


def _sharing(tables: Mapping[int, Table]) -> list[tuple[Table, list[int]]]:
    """The different tables, each with the clients that get it."""
    found: dict[bytes, tuple[Table, list[int]]] = {}
    for client, table in tables.items():
        found.setdefault(table_digest(table), (table, []))[1].append(client)
    return list(found.values())
