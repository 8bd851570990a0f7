"""The tables of a lying server on a small trainer in float32, and what a demonstration says of them."""

from collections.abc import Mapping

import numpy as np
import pytest

from attacks.errors import AttackError
from attacks.lying_server import ATTACKS, BLOCKS, SATURATION, Played, Refused, Situation, demonstrate
from attacks.views import Truth

N_CLIENTS, N_ITEMS, DIM, STEP = 12, 120, 8, 2.0**-10
LARGEST = 2048.0


class World:
    """Clients with private vectors, trained as PFedRec does, two batches each."""

    def __init__(self, *, untouched: bool, start: float = 0.25) -> None:
        rng = np.random.default_rng(5)
        popularity = 1 / np.arange(2, N_ITEMS + 2)
        self.items = [
            rng.choice(N_ITEMS, 12, False, popularity / popularity.sum()).astype(np.int32) for _ in range(N_CLIENTS)
        ]
        initial = rng.uniform(-start, start, DIM).astype(np.float32)
        self.weights = np.repeat(initial[None], N_CLIENTS, axis=0)
        if not untouched:
            self.weights += rng.normal(0, 0.3, self.weights.shape).astype(np.float32)
        counts = np.bincount(np.concatenate(self.items), minlength=N_ITEMS).astype(np.int64)
        table = rng.normal(0, 0.5, (N_ITEMS, DIM)).astype(np.float32)
        self.situation = Situation(
            1 if untouched else 7, table, np.arange(N_CLIENTS), counts, N_CLIENTS, initial, untouched, STEP
        )
        self.truth = Truth.from_lists(N_ITEMS, self.situation.clients, self.items)

    def change(self, client: int, table: np.ndarray) -> np.ndarray:
        """(n_items, dim) on the grid, cut as a protocol's fields cut it."""
        rng = np.random.default_rng(client)
        others = np.setdiff1d(np.arange(N_ITEMS), self.items[client])
        codes = [(item, 1) for item in self.items[client]]
        codes += [(item, 0) for _ in self.items[client] for item in rng.choice(others, 4, replace=False)]
        items, labels = np.array([codes[i] for i in rng.permutation(len(codes))]).T
        local, weights = table.copy(), self.weights[client].copy()
        for batch in (slice(30), slice(30, None)):
            rows, label = items[batch], labels[batch].astype(np.float32)
            weights -= np.float32(0.1) * (self.pull(local[rows] @ weights, label) @ local[rows]) / len(rows)
            pull = self.pull(local[rows] @ weights, label)
            for row, each in zip(rows, pull, strict=True):
                local[row] -= np.float32(60 / len(rows)) * each * weights
        return np.clip(np.rint((local.astype(np.float64) - table) / STEP), -LARGEST / STEP, LARGEST / STEP) * STEP

    @staticmethod
    def pull(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return (1 / (1 + np.exp(-np.clip(logits, -60, 60))) - labels).astype(np.float32)

    def play(self, tables: Mapping[int, np.ndarray]) -> Played:
        assert set(tables) == set(range(N_CLIENTS))
        return Played(np.sum([self.change(client, table) for client, table in tables.items()], axis=0), {})

    def demonstrate(self, attack, play=None, **options):  # type: ignore[no-untyped-def]
        return demonstrate(
            attack, self.situation, play or self.play, self.truth, against="a sum", rng=np.random.default_rng(0),
            **options,
        )  # fmt: skip


@pytest.mark.parametrize("untouched", [True, False])
def test_saturation_reads_one_target_a_round_whatever_the_others_private_vectors(untouched: bool) -> None:
    attempt, finding = World(untouched=untouched).demonstrate(SATURATION, rounds=5, foreseen=True)
    assert attempt.succeeded and attempt.as_promised and finding.n == 5
    assert finding.result.mean > 0.99 and finding.result.mean > finding.controls["popularity"].high


def test_what_others_add_under_saturation_lies_on_the_known_line_to_the_last_bit() -> None:
    world = World(untouched=False)
    tables = SATURATION.tables(world.situation, [4])
    assert all(np.isfinite(table).all() and table.dtype == np.float32 for table in tables.values())
    others = np.sum([world.change(client, tables[client]) for client in range(N_CLIENTS) if client != 4], axis=0)
    assert np.abs(others).max() >= LARGEST
    assert (others == others[:, :1]).all()


@pytest.mark.parametrize("start", [0.25, 0.0])
def test_blocks_read_a_target_for_each_direction_from_one_sum(start: float) -> None:
    attempt, finding = World(untouched=True, start=start).demonstrate(BLOCKS, foreseen=True)
    assert attempt.succeeded and finding.n == (DIM - 1 if start else DIM)
    assert finding.result.mean > 0.99 and finding.others["F1"].mean > 0.95


def test_blocks_need_the_public_initial_vectors() -> None:
    world = World(untouched=False)
    assert BLOCKS.targets(world.situation) == 0
    with pytest.raises(AttackError, match="has no target in round 7: it comes too late"):
        world.demonstrate(BLOCKS)


def test_of_an_honest_sum_neither_attack_reads_anything() -> None:
    """The same reading without the tables: what it finds is owed to them."""
    world = World(untouched=True)
    honest = world.play(dict.fromkeys(range(N_CLIENTS), world.situation.table))
    for attack in ATTACKS:
        attempt, finding = world.demonstrate(attack, lambda tables: honest, rounds=N_CLIENTS)
        assert not attempt.succeeded and finding.others["F1"].mean < 0.6


def test_a_refused_round_is_told_in_the_words_of_who_refused() -> None:
    def refuse(tables: Mapping[int, np.ndarray]) -> Played:
        raise Refused("Device 3 does not answer: so it says.")

    attempt, finding = World(untouched=True).demonstrate(SATURATION, refuse)
    assert not attempt.succeeded and attempt.as_promised and finding is None
    assert attempt.outcome == "Device 3 does not answer: so it says."


def test_a_sum_without_its_targets_is_no_success_and_one_without_some_is_read_for_the_rest() -> None:
    world = World(untouched=True)

    def lacking(gone: set[int]):  # type: ignore[no-untyped-def]
        def play(tables: Mapping[int, np.ndarray]) -> Played:
            there = [client for client in tables if client not in gone]
            total = np.sum([world.change(client, tables[client]) for client in there], axis=0)
            return Played(total, {client: f"Device {client} does not answer." for client in gone})

        return play

    order = np.random.default_rng(0).permutation(world.situation.clients).tolist()
    attempt, finding = world.demonstrate(SATURATION, lacking({order[0]}))
    assert not attempt.succeeded and finding is None and attempt.outcome.startswith("The sum opened without its target")
    attempt, finding = world.demonstrate(BLOCKS, lacking(set(order[:3])), foreseen=True)
    assert attempt.succeeded and finding.n == DIM - 1 - 3
