"""A data set to which interactions came: users, items and lists as they were, and what is new after them."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from securerec.data.arrival_files import rows_of
from securerec.data.csv_import import Clock
from securerec.data.csv_rows import identifier
from securerec.data.dataset import BY_ROW, BY_TIMESTAMP, Dataset
from securerec.data.interactions import Interactions, chronological
from securerec.errors import DataError


def grown(dataset: Dataset, path: Path) -> tuple[Dataset, int]:
    """The data set with the interactions of a CSV file, and how many rows were left out since the user had the item.

    Columns: `user`, `item`, identifiers, and perhaps `timestamp`. Users that are not known join at the end; an item
    that is not known is an error. Where both have timestamps, lists are in their order; else what is new follows what
    was there, in the order of the rows. The result's name is the data set's with a digest, and it is not stored yet.
    Raises DataError that names the line.
    """
    user_place = {user: at for at, user in enumerate(dataset.user_ids)}
    item_place = {item: at for at, item in enumerate(dataset.item_ids)}
    old, n_old = dataset.interactions, dataset.interactions.n_users
    taken = set(old.pairs().tolist())
    users: list[int] = []
    items: list[int] = []
    times: list[float] = []
    left_out, timed = 0, False
    with rows_of(path, ("user", "item"), ("timestamp",)) as rows:
        clock = Clock("timestamp")
        for line, fields in rows:
            item = item_place.get(identifier(fields["item"], "item", line))
            if item is None:
                raise DataError(
                    f"line {line}: {dataset.name} has no item {fields['item'].strip()!r}: describe it in --new-items"
                )
            user = user_place.setdefault(identifier(fields["user"], "user", line), len(user_place))
            timed = "timestamp" in fields
            time = clock.read(fields["timestamp"], line) if timed else 0.0
            pair = user * old.n_items + item
            if pair in taken:
                left_out += 1
                continue
            taken.add(pair)
            users.append(user)
            items.append(item)
            times.append(time)
    if not users:
        raise DataError(f"{path.name} has no interaction that {dataset.name} does not have: nothing to go on with")
    keeps_time = timed and dataset.timestamps is not None
    all_users = np.concatenate([old.users().astype(np.int64), np.array(users, np.int64)])
    all_items = np.concatenate([old.items.astype(np.int64), np.array(items, np.int64)])
    before = dataset.timestamps if keeps_time and dataset.timestamps is not None else np.zeros(len(old.items))
    # without times of both, all that was there comes first, and what is new by its own time
    after = np.array(times) if keeps_time else np.array(times) - min(times, default=0.0) + 1.0
    all_times = np.concatenate([before, after])
    order = chronological(all_users, all_times)
    names = (*dataset.user_ids, *list(user_place)[n_old:])
    unknown = ("",) * (len(names) - n_old)
    result = replace(
        dataset,
        interactions=Interactions.from_sorted(all_users[order], all_items[order], len(names), old.n_items),
        user_ids=names,
        user_attributes={name: (*values, *unknown) for name, values in dataset.user_attributes.items()},
        timestamps=all_times[order] if keeps_time else None,
        tie_rule=BY_TIMESTAMP if keeps_time else BY_ROW,
        source=f"{dataset.source}; and {''.join(c for c in path.name if c.isprintable())}",
    )
    digest = hashlib.sha256(result.digest().encode()).hexdigest()[:8]
    return replace(result, name=f"{dataset.name[:54]}-{digest}"), left_out
