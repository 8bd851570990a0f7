"""Users and items as people name them."""

import difflib

import numpy as np

from securerec.data.dataset import Dataset
from securerec.data.splits import Split
from securerec.errors import DataError

_MOST_TITLES_FOR_A_HINT = 50_000
_SHOWN = 3


def item_index(dataset: Dataset, text: str) -> int:
    """The number of the item with this identifier, or else with this title, whatever its case.

    Raises DataError that names the nearest items, or all of those that share the title.
    """
    if text in dataset.item_ids:
        return dataset.item_ids.index(text)
    wanted = text.strip().casefold()
    titles = [title.casefold() for title in dataset.titles]
    found = [place for place, title in enumerate(titles) if title == wanted]
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(
            f"{dataset.name} has {len(found)} items of the title {text!r}: name one by its identifier, "
            f"{_named(dataset, found)}"
        )
    near = [place for place, title in enumerate(titles) if wanted and wanted in title][:_SHOWN]
    if not near and len(titles) <= _MOST_TITLES_FOR_A_HINT:
        close = difflib.get_close_matches(wanted, titles, n=_SHOWN, cutoff=0.5)
        near = [titles.index(title) for title in close]
    if not near and len(titles) <= _MOST_TITLES_FOR_A_HINT:
        close = difflib.get_close_matches(text, dataset.item_ids, n=_SHOWN, cutoff=0.5)
        near = [dataset.item_ids.index(item) for item in close]
    hint = f"the nearest are {_named(dataset, near)}" if near else f"items look like {_named(dataset, [0])}"
    raise DataError(f"{dataset.name} has no item {text!r} among its {len(titles)}: {hint}")


def median_user(split: Split) -> int:
    """Of the users with a held-out item, one with the median number of training items (the upper one of two, and the
    first in the data set's order among equals)."""
    users = np.flatnonzero(split.test >= 0)
    counts = split.train.counts()[users]
    median = np.sort(counts)[len(counts) // 2]
    return int(users[np.argmax(counts == median)])


def _named(dataset: Dataset, items: list[int]) -> str:
    return ", ".join(f"{dataset.item_ids[item]} ({dataset.titles[item]})" for item in items)
