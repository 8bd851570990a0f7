"""A small PFedRec in numpy: what its uploads look like, written apart from the recommender's own code."""

from dataclasses import dataclass

import numpy as np
import pytest

from attacks.case import Case, LocalTraining, Public, Recording
from attacks.views import DenseUploads, Labels, OpenedSum, RowUploads, Truth, UploadView

N_CLIENTS, N_ITEMS, DIM = 60, 300, 16
SCORE_RATE, ITEM_RATE, BATCH = 0.3, 60.0, 64


@dataclass
class Simulated:
    """Every client's changes (n, n_items, dim) by round, the tables that were broadcast, and the private vectors."""

    positives: list[np.ndarray]
    popularity: np.ndarray
    tables: dict[int, np.ndarray]
    changes: dict[int, np.ndarray]
    weights: dict[int, np.ndarray]
    touched: dict[int, np.ndarray]

    @property
    def public(self):
        """Genres drawn apart from everything else, and how `train` trains."""
        genres = np.random.default_rng(11).random((N_ITEMS, 4)) < 0.25
        return Public(genres, ("Action", "Comedy", "Drama", "War"), LocalTraining(SCORE_RATE, ITEM_RATE, BATCH, 4, 1))

    @property
    def truth(self):
        return Truth.from_lists(N_ITEMS, np.arange(N_CLIENTS), self.positives)

    def view(self, kind, round_number, uploads):
        return UploadView(kind, round_number, self.tables[round_number], self.popularity, N_CLIENTS, uploads)

    def unprotected(self, round_number):
        changes, touched = self.changes[round_number], self.touched[round_number]
        rows = [np.flatnonzero(each).astype(np.int32) for each in touched]
        delta = [change[own] for change, own in zip(changes, rows, strict=True)]
        return self.view("unprotected_upload", round_number, RowUploads.from_lists(np.arange(N_CLIENTS), rows, delta))

    def noised(self, round_number, deviation, rng):
        """Gaussian noise, `deviation` times the root mean square of a touched value."""
        changes = self.changes[round_number]
        scale = np.sqrt(np.mean(changes[self.touched[round_number]] ** 2))
        noise = rng.normal(0, deviation * scale, changes.shape)
        return self.view(
            "noised_upload", round_number, DenseUploads(np.arange(N_CLIENTS), (changes + noise).astype(np.float32))
        )

    def opened(self, round_number, clients):
        total = self.changes[round_number][clients].sum(axis=0)
        return self.view("opened_sum", round_number, OpenedSum(np.asarray(clients), total))


@pytest.fixture(scope="session")
def simulated():
    return simulate(np.random.default_rng(7), rounds=6)


def simulate(rng, rounds):
    popularity = 1 / np.arange(3, N_ITEMS + 3) ** 0.8
    taste_items, taste_clients = rng.normal(size=(N_ITEMS, 3)), rng.normal(size=(N_CLIENTS, 3))
    positives = []
    for client in range(N_CLIENTS):
        wish = np.log(popularity) + taste_items @ taste_clients[client] + rng.gumbel(size=N_ITEMS)
        positives.append(np.argsort(-wish)[: rng.integers(5, 40)].astype(np.int32))
    table = rng.normal(0, 0.3, (N_ITEMS, DIM)).astype(np.float32)
    weights = np.repeat(rng.uniform(-0.25, 0.25, (1, DIM)), N_CLIENTS, axis=0)
    counts = np.bincount(np.concatenate(positives), minlength=N_ITEMS).astype(np.int64)
    result = Simulated(positives, counts, {}, {}, {}, {})
    for number in range(1, rounds + 1):
        changes = np.zeros((N_CLIENTS, N_ITEMS, DIM), dtype=np.float32)
        touched = np.zeros((N_CLIENTS, N_ITEMS), dtype=bool)
        for client in range(N_CLIENTS):
            changes[client], touched[client] = train(table, weights[client], positives[client], rng)
        result.tables[number], result.changes[number] = table, changes
        result.touched[number], result.weights[number] = touched, weights.copy()
        table = table + changes.mean(axis=0)
    return result


def train(table, weights, positives, rng, batch=BATCH, score_rate=SCORE_RATE, item_rate=ITEM_RATE):
    """One client's round; `weights` is updated in place. Returns its change and which rows it touched."""
    others = np.setdiff1d(np.arange(N_ITEMS), positives)
    negatives = np.concatenate([rng.choice(others, 4, replace=False) for _ in positives])
    items = np.concatenate([positives, negatives])
    labels = np.concatenate([np.ones(len(positives)), np.zeros(len(negatives))])
    order = rng.permutation(len(items))
    local = table.astype(np.float64)
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        residual = labels[chosen] - 1 / (1 + np.exp(-np.clip(local[items[chosen]] @ weights, -30, 30)))
        weights += score_rate * residual @ local[items[chosen]] / len(chosen)
        residual = labels[chosen] - 1 / (1 + np.exp(-np.clip(local[items[chosen]] @ weights, -30, 30)))
        np.add.at(local, items[chosen], item_rate * residual[:, None] * weights / len(chosen))
    touched = np.zeros(N_ITEMS, dtype=bool)
    touched[items] = True
    return (local - table).astype(np.float32), touched


@pytest.fixture(scope="session")
def people_case(simulated):
    """Makes a case of views of these clients, with three genres and a gender that follow from what they have."""
    histories = simulated.truth.positives(np.arange(N_CLIENTS)).astype(float)
    tastes, _, themes = np.linalg.svd(histories - histories.mean(axis=0), full_matrices=False)
    bounds = np.quantile(themes[:3], 0.8, axis=1)
    public = Public(np.greater(themes[:3].T, bounds), ("red", "green", "blue"))
    gender = Labels(("F", "M"), (tastes[:, 0] > np.median(tastes[:, 0])).astype(np.int16))
    truth = Truth.from_lists(N_ITEMS, np.arange(N_CLIENTS), simulated.positives, {"gender": gender})

    def case(*views):
        return Case(Recording.of(views), truth, public)

    return case
