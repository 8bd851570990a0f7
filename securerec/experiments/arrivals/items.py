"""New items: a tenth of the catalogue that no round has seen, scored from genres and years.

Protocol. The run is trained on a catalogue without those items, and on lists without them. Each held-out (user, new
item) pair is ranked against 99 items that the user never touched, new ones among them, and apart from that against new
ones alone, where popularity cannot help. The device knows its training list of all other items, also what came after
the pair: what is measured is what features tell, not what comes next.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from securerec.config import Config
from securerec.data.dataset import Dataset
from securerec.data.interactions import Interactions
from securerec.evaluation.protocols import Scorer
from securerec.experiments.arrivals.playing import Table, Trained, against, figures_of_pairs, train
from securerec.models.head import Head, Heads

SHARE = 0.1
NEGATIVES = 99


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """The data set with the held-out items last: `whole`, and without them: `known`."""

    whole: Dataset
    known: Dataset

    @property
    def n_known(self) -> int:
        return self.known.interactions.n_items


def hold_out(dataset: Dataset, rng: np.random.Generator) -> Catalogue:
    """A random tenth of the items, at least one, becomes new."""
    n_items = dataset.interactions.n_items
    order = rng.permutation(n_items)
    n_known = n_items - max(1, round(SHARE * n_items))
    order = np.concatenate([np.sort(order[:n_known]), np.sort(order[n_known:])])
    whole = with_items(dataset, order, n_items)
    return Catalogue(whole, with_items(whole, np.arange(n_known), n_known))


def with_items(dataset: Dataset, order: NDArray[np.int64], kept: int) -> Dataset:
    """The data set with its items in this order, and interactions with the first `kept` only."""
    number = np.full(dataset.interactions.n_items, -1, np.int64)
    number[order[:kept]] = np.arange(kept)
    items, users = number[dataset.interactions.items], dataset.interactions.users()
    stays = items >= 0
    interactions = Interactions.from_sorted(users[stays], items[stays], dataset.interactions.n_users, kept)
    return replace(
        dataset, interactions=Interactions(interactions.offsets, interactions.items, kept),
        item_ids=tuple(dataset.item_ids[item] for item in order), titles=tuple(dataset.titles[item] for item in order),
        years=dataset.years[order], genres=dataset.genres[order], timestamps=None,
    )  # fmt: skip


def measure_items(config: Config, dataset: Dataset, seed: int, folder: Path) -> dict[str, Table]:
    """Figures by what is ranked against ("any item", "new items") and by what scores.

    Against any item most candidates are not new while every held-out item is, so a scorer that prefers new items as
    such wins there: the base is foretold without looking at these figures.
    """
    rng = np.random.default_rng([seed, 2])
    catalogue = hold_out(dataset, rng)
    trained = train(config, catalogue.known, folder / "known")
    whole, n_known = catalogue.whole.interactions, catalogue.n_known
    new = whole.items >= n_known
    users, items = whole.users()[new].astype(np.int64), whole.items[new].astype(np.int64)
    pairs = np.unique(users * whole.n_items + items)
    users, items = np.divmod(pairs, whole.n_items)
    touched = [np.unique(whole.of(user)) for user in range(whole.n_users)]
    scorers = _scorers(trained, catalogue, rng)
    found = {}
    for name, pool in (("any item", np.arange(whole.n_items)), ("new items", np.arange(n_known, whole.n_items))):
        candidates = against(users, items, partial(_untouched, pool, touched), NEGATIVES, rng)
        found[name] = {label: figures_of_pairs(scorer, users, candidates) for label, scorer in scorers.items()}
    return found


def _untouched(pool: NDArray[np.int64], touched: list[NDArray[np.int32]], user: int) -> NDArray[np.int64]:
    return np.setdiff1d(pool, touched[user])


def _scorers(trained: Trained, catalogue: Catalogue, rng: np.random.Generator) -> dict[str, Scorer]:
    released, n_known = trained.released.with_new_items(catalogue.whole), catalogue.n_known
    extended = released.before_all_items(trained.devices)
    head = extended.heads.head
    # An item of which nothing is known but that it is there: the average of all others in every respect.
    base, directions, table = head.base.copy(), head.directions.copy(), extended.table.copy()
    base[n_known:] = np.log(np.exp(base[:n_known]).mean())
    directions[n_known:] = directions[:n_known].mean(axis=0)
    table[n_known:] = rng.normal(0, table[:n_known].std(), (len(table) - n_known, table.shape[1]))
    nothing = Heads(Head(base, directions), extended.heads.tastes)
    zeroed = extended.table.copy()
    zeroed[n_known:] = 0
    return {
        "at random": lambda users: rng.random((len(users), len(base)), dtype=np.float32),
        "popularity foretold from features": lambda users: np.broadcast_to(head.base, (len(users), len(base))),
        "device, a row at random": replace(extended, heads=nothing, table=table).scorer(0.0),
        "device, features, row zero": replace(extended, table=zeroed).scorer(0.0),
        "device, features, row from features": extended.scorer(0.0),
    }
