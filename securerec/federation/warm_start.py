"""What is released before the first round, and where the rounds start from because of it.

Each release is one secure sum of one vector of norm 1 a client, made from its own list and from what was opened before.
"""

import hashlib
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from securerec.config import StartSettings
from securerec.data.interactions import Interactions
from securerec.models.head import (
    Heads,
    PublicFeatures,
    calibrated_biases,
    fit_tastes,
    grown,
    make_head,
    softmax,
    with_neighbours,
)
from securerec.models.neighbours import NEARNESS, neighbours, pair_width, pairs_of, sketched
from securerec.models.popularity import estimated_popularity
from securerec.models.scorers import Learner, ScoreFunctions
from securerec.models.segments import GAINS, Segments, next_loadings, shrunk
from securerec.models.sketch import (
    SUMS,
    first_basis,
    item_scales,
    next_basis,
    product_of,
    scaled,
    sketch_width,
    sketched_neighbours,
)
from securerec.training.cohort import Table
from securerec.training.updates import Change, RowUpdates, Updates, digest_of, place_of


@dataclass(frozen=True, slots=True, eq=False)
class NoisySum:
    """What was opened of a release: `total` (n_rows, width) in the vectors' own units, and the deviation of its noise,
    0 for none.
    """

    total: NDArray[np.float64]
    noise: float

    def digest(self) -> bytes:
        """Of all that is read from it, 32 bytes."""
        described = np.array([*self.total.shape, self.noise]).tobytes()
        return hashlib.sha256(described + self.total.tobytes()).digest()


_WITNESSES = 4
"""Gradients that go into a digest."""


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """A release that comes next. name: its kind; table, basis: what devices were sent, and what the digest stands for;
    updates: what each device adds to the sum.
    """

    name: str
    table: Table
    updates: Updates
    basis: bytes


Sum = Callable[[str, Table, Updates, bytes], NoisySum]
"""Opens the sum of a release, from the parts of `Wanted`."""


@dataclass(frozen=True, slots=True, eq=False)
class WarmStart:
    """Where round 1 starts: the devices' heads, the item table and every device's score function.

    basis: digest of all that was opened for it, 32 bytes; empty if nothing was. popularity: (n_items,) as it was
    released, None if it was not.
    """

    heads: Heads
    table: Table
    functions: ScoreFunctions
    basis: bytes = b""
    popularity: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PopularityVectors:
    """Client u's list as 0 and 1, over the root of its length: (n_items, 1), of norm 1; zero for an empty list."""

    train: Interactions

    def of(self, client: int) -> Change:
        items = np.unique(self.train.of(client))
        value = 1 / np.sqrt(max(len(items), 1))
        return items, np.full((len(items), 1), value, np.float32)

    def digest(self) -> str:
        return digest_of(self, np.arange(self.train.n_users))

    def part(self, clients: NDArray[np.int64]) -> RowUpdates:
        return RowUpdates.gathered(self, clients)


@dataclass(frozen=True, slots=True, eq=False)
class SegmentVectors:
    """Client `clients[i]`'s gradient of its own next items, (n_items, 1 + width), of norm 1; computed when asked for.

    In the order of the clients: lists, their training items; heads; and weights (n, dim), which with the `table`
    (n_items, dim) of earlier releases add to the heads' scores.
    """

    segments: Segments
    clients: NDArray[np.int64]
    lists: Interactions
    heads: Heads
    weights: NDArray[np.float32] = field(repr=False)
    table: Table

    def of(self, client: int) -> Change:
        place = place_of(self.clients, client)
        scores = self.heads.logits(np.array([place])) + self.weights[place] @ self.table.T
        expected = softmax(scores)[0]
        gradient = self.segments.gradient(self.lists.of(place), expected)
        return np.arange(self.lists.n_items, dtype=np.int32), gradient

    def digest(self) -> str:
        """Of all that the gradients follow from, and of a few gradients: another processor may sum otherwise."""
        head, segments = self.heads.head, self.segments
        followed = (self.clients, self.lists.offsets, self.lists.items, segments.directions, segments.curvature)
        scoring = (head.base, head.directions, self.heads.tastes, self.weights, self.table)
        state = hashlib.sha256(str(segments.recency).encode())
        for array in (*followed, *scoring):
            state.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
        for client in self.clients[:: max(1, len(self.clients) // _WITNESSES)]:
            state.update(self.of(int(client))[1].tobytes())
        return state.hexdigest()

    def part(self, clients: NDArray[np.int64]) -> "SegmentVectors":
        places = np.searchsorted(self.clients, clients)
        lists = Interactions.from_lists([self.lists.of(int(place)).tolist() for place in places], self.lists.n_items)
        heads = Heads(self.heads.head, self.heads.tastes[places])
        return SegmentVectors(self.segments, clients, lists, heads, self.weights[places], self.table)


@dataclass(frozen=True, slots=True, eq=False)
class PairVectors:
    """Client `clients[i]`'s pairs of items, the nearer in its list the larger: (n_items, pair_width), no value above 1;
    computed when asked for.

    lists: training items, in the order of the clients. exponent: of the nearness.
    """

    clients: NDArray[np.int64]
    lists: Interactions
    exponent: float

    def of(self, client: int) -> Change:
        items = self.lists.of(place_of(self.clients, client))
        return pairs_of(items, self.lists.n_items, exponent=self.exponent)

    def digest(self) -> str:
        """Of all that the pairs follow from, and of a few of them: another processor may round otherwise."""
        state = hashlib.sha256(f"pairs {self.exponent}".encode())
        for array in (self.clients, self.lists.offsets, self.lists.items):
            state.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
        for client in self.clients[:: max(1, len(self.clients) // _WITNESSES)]:
            state.update(self.of(int(client))[1].tobytes())
        return state.hexdigest()

    def part(self, clients: NDArray[np.int64]) -> "PairVectors":
        places = np.searchsorted(self.clients, clients)
        lists = Interactions.from_lists([self.lists.of(int(place)).tolist() for place in places], self.lists.n_items)
        return PairVectors(clients, lists, self.exponent)


@dataclass(frozen=True, slots=True, eq=False)
class SketchVectors:
    """Client `clients[i]`'s part of a Gram matrix times a scaled basis: (n_items, width), no value beyond +-1; computed
    when asked for.

    lists: training items, in the order of the clients. basis: (n_items, width), which everybody has computed.
    """

    clients: NDArray[np.int64]
    lists: Interactions
    basis: Table

    def of(self, client: int) -> Change:
        return product_of(self.lists.of(place_of(self.clients, client)), self.basis)

    def digest(self) -> str:
        """Of all that the products follow from, and of a few of them: another processor may round otherwise."""
        state = hashlib.sha256(b"sketch")
        for array in (self.clients, self.lists.offsets, self.lists.items, self.basis):
            state.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
        for client in self.clients[:: max(1, len(self.clients) // _WITNESSES)]:
            state.update(self.of(int(client))[1].tobytes())
        return state.hexdigest()

    def part(self, clients: NDArray[np.int64]) -> "SketchVectors":
        places = np.searchsorted(self.clients, clients)
        lists = Interactions.from_lists([self.lists.of(int(place)).tolist() for place in places], self.lists.n_items)
        return SketchVectors(clients, lists, self.basis)


def cold_start(model: Learner, train: Interactions, rng: np.random.Generator) -> WarmStart:
    """Random values as the learner has them, and nothing released."""
    table = model.initial_table(train.n_items, rng)
    return WarmStart(Heads.none(train.n_users, train.n_items), table, model.initial_functions(train.n_users, rng))


def warm_start(
    settings: StartSettings,
    model: Learner,
    features: PublicFeatures,
    cold: WarmStart,
    train: Interactions,
    open_sum: Sum,
    *,
    basis: bytes,
) -> WarmStart:
    """What `warm_steps` comes to, where one party can have every sum opened."""
    steps = warm_steps(settings, model, features, cold, train, basis=basis)
    wanted = next(steps)
    while True:
        try:
            wanted = steps.send(open_sum(wanted.name, wanted.table, wanted.updates, wanted.basis))
        except StopIteration as end:
            start: WarmStart = end.value
            return start


def warm_steps(
    settings: StartSettings,
    model: Learner,
    features: PublicFeatures,
    cold: WarmStart,
    train: Interactions,
    *,
    basis: bytes,
) -> Generator[Wanted, NoisySum, WarmStart]:
    """Release what the settings say, fit every device's head to it, and start the item table: yields what is to be
    summed, is sent the sum, and returns the start.

    Each release of segments adds columns to the table, which are features to the heads from then on; one of pairs gives
    every head an item-item model. basis: names the run, so that no release of another one is taken for a
    retry of this one's. Whatever is not of the devices follows from the sums alone: a server walks through it with
    nobody's list, a device with its own, and both know the same.
    """
    users = np.arange(train.n_users)
    opened = yield Wanted("popularity", np.zeros((train.n_items, 1), np.float32), PopularityVectors(train), basis)
    popularity, basis = opened.total[:, 0], hashlib.sha256(basis + opened.digest()).digest()
    estimate = estimated_popularity(popularity, opened.noise, features.values)
    head = make_head(features, estimate)
    heads = Heads(head, fit_tastes(head, train, recency=settings.recency))
    table, weights = np.zeros((train.n_items, 0), np.float32), np.zeros((train.n_users, 0), np.float32)
    for number, width in enumerate(settings.segments or ()):
        segments = Segments.of(head, width, settings.recency)
        vectors = SegmentVectors(segments, users, train, heads, weights, table)
        opened = yield Wanted(segments_name(number), np.zeros((train.n_items, 1 + width), np.float32), vectors, basis)
        basis = hashlib.sha256(basis + opened.digest()).digest()
        learnt = shrunk(opened.total, popularity, opened.noise)
        gain = np.float32(GAINS[min(number, len(GAINS) - 1)])
        table = np.concatenate([table, learnt], axis=1)
        weights = np.concatenate([weights, gain * next_loadings(segments, train)], axis=1)
        features = grown(features, learnt)
        head = make_head(features, estimate)
        heads = Heads(head, fit_tastes(head, train, recency=settings.recency, weights=weights, table=table))
    if settings.pairs and sketched(train.n_items):
        scales, directions = item_scales(popularity), first_basis(train.n_items, settings.pairs)
        sent = np.zeros((train.n_items, sketch_width(train.n_items, settings.pairs)), np.float32)
        for number in range(SUMS):
            if number:
                directions = next_basis(opened.total, scales)
            products = SketchVectors(users, train, scaled(directions, scales))
            opened = yield Wanted(sketch_name(number), sent, products, basis)
            basis = hashlib.sha256(basis + opened.digest()).digest()
        inputs, outputs = sketched_neighbours(directions, opened.total, scales)
        heads = with_neighbours(heads, inputs, outputs, train, settings.recency)
    elif settings.pairs:
        sent = np.zeros((train.n_items, pair_width(train.n_items)), np.float32)
        opened = yield Wanted(PAIRS, sent, PairVectors(users, train, NEARNESS * settings.recency), basis)
        basis = hashlib.sha256(basis + opened.digest()).digest()
        inputs, outputs = neighbours(opened.total, settings.pairs)
        heads = with_neighbours(heads, inputs, outputs, train, settings.recency)
    biases = calibrated_biases(heads, model.negatives, weights, table)
    if not settings.segments:
        table, weights = cold.table, cold.functions.weights
    return WarmStart(heads, table, ScoreFunctions(weights, biases), basis, popularity)


PAIRS = "pairs"
"""Name of the release of pairs."""


def sketch_name(number: int) -> str:
    """Of the product with this number, from 0, by which a large catalogue has its pairs."""
    return "sketch" if number == 0 else f"sketch {number + 1}"


def segments_name(number: int) -> str:
    """Of the release of segments with this number, from 0."""
    return "segments" if number == 0 else f"segments {number + 1}"
