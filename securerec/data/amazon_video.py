"""Amazon Instant Video, 2000 to 2014: who rated which product, one line `user,asin,rating,unix seconds` a rating.

The file comes with everybody's ratings, or with those of users who gave at least five; both give the same data set.
Nobody rated a product twice. Times are days, and 27% of users have equal ones at the cut: of equal days the higher
product identifier counts as older, which with the file's order by product is how the published split ranks them.
"""

import re

import numpy as np

from securerec.data.dataset import BY_TIMESTAMP_THEN_IDENTIFIER, Dataset
from securerec.data.interactions import Interactions
from securerec.data.text_rows import AGAIN
from securerec.errors import DataError

NAME = "amazon-video"
LICENCE = "Amazon reviews (McAuley, UC San Diego): research use only"
SOURCE = "Amazon Instant Video ratings, J. McAuley, UC San Diego"
LEAST_RATINGS = 5
"""Users with fewer ratings are left out, as in the published figures."""

_LINE = re.compile(rb"([A-Z0-9]{8,24}),([A-Z0-9]{10}),[1-5]\.0,(\d{1,10})\r?")


def from_ratings(content: bytes, *, file: str = "ratings.dat") -> Dataset:
    """From the text of the file, called `file` in errors. Raises DataError that names file and line."""
    people, products, seconds = [], [], []
    for number, line in enumerate(content.split(b"\n"), start=1):
        if line.strip() == b"":
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise DataError(f"{file}, line {number}: not a user, a product, a rating and unix seconds; {AGAIN}")
        people.append(match[1])
        products.append(match[2])
        seconds.append(int(match[3]))
    user_ids, users, counts = np.unique(np.array(people, "S24"), return_inverse=True, return_counts=True)
    kept = counts[users] >= LEAST_RATINGS
    if not kept.any():
        raise DataError(f"{file}: no user gave at least {LEAST_RATINGS} ratings; {AGAIN}")
    user_ids, users = np.unique(np.array(people, "S24")[kept], return_inverse=True)
    item_ids, items = np.unique(np.array(products, "S10")[kept], return_inverse=True)
    times = np.array(seconds, dtype=np.float64)[kept]
    if np.unique(users * len(item_ids) + items).size != users.size:
        raise DataError(f"{file}: a user rated a product twice; {AGAIN}")
    order = np.lexsort((-items, times, users))
    names = tuple(item.decode() for item in item_ids.tolist())
    return Dataset(
        name=NAME,
        interactions=Interactions.from_sorted(users[order], items[order], len(user_ids), len(item_ids)),
        user_ids=tuple(user.decode() for user in user_ids.tolist()),
        item_ids=names,
        titles=names,
        years=np.zeros(len(names), dtype=np.int16),
        genres=np.zeros((len(names), 0), dtype=bool),
        genre_names=(),
        user_attributes={},
        licence=LICENCE,
        source=SOURCE,
        tie_rule=BY_TIMESTAMP_THEN_IDENTIFIER,
        timestamps=times[order],
    )
