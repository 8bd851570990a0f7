"""What a step trains on: which of a device's interactions, and the negatives of each.

Every item of the catalogue has, in every step, a coin and `negatives` negatives of its own, drawn whether or not the
device has the item. A device's example is an item it has, with that item's draws. So the draws of one example do not
depend on what else the device has: adding or removing one interaction adds or removes one example and leaves all
others as they were. That is why negatives are uniform over the whole catalogue, the device's own other positives
included. Were they kept away from the other positives, as PFedRec's are, one interaction more would change the others'
negatives, hence all gradients, and no clip of one example would bound that.

How many words are drawn depends on public sizes only.
"""

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from securerec.data.interactions import Interactions
from securerec.privacy.randomness import KeyStream


def draw_words(stream: KeyStream, n_items: int, negatives: int) -> NDArray[np.uint64]:
    """A step's draws, (n_items, 1 + negatives) uint64: item i's coin is in column 0, its negatives in the others."""
    return stream.uint64(n_items * (1 + negatives)).reshape(n_items, 1 + negatives)


def coin_limit(sample_rate: float) -> np.uint64:
    """An item's example is taken when the upper 63 bits of its coin are below this: with probability at most
    sample_rate, less than 2^-63 under it.
    """
    return np.uint64(math.floor(Fraction(sample_rate) * 2**63))


def taken(items: NDArray[np.int32], words: NDArray[np.uint64], sample_rate: float) -> NDArray[np.int32]:
    """The examples of a step, (batch, 1 + negatives) int32: each row a positive, then its negatives.

    items: (n,) distinct, what the device has. words: as from `draw_words`. A negative is uniform over the catalogue
    within n_items 2^-32 (it does not depend on data, so this costs no privacy).
    """
    n_items = np.uint64(len(words))
    own = items[words[items, 0] >> np.uint64(1) < coin_limit(sample_rate)]
    drawn = (words[own, 1:] >> np.uint64(32)) * n_items >> np.uint64(32)
    return np.concatenate([own[:, None], drawn.astype(np.int32)], axis=1)


def distinct(train: Interactions) -> Interactions:
    """Each user's items once, in the order of their numbers: an example is a pair of user and item, so what was
    repeated is one interaction and protected as one.
    """
    users, items = np.divmod(train.pairs(), max(train.n_items, 1))
    return Interactions.from_sorted(users, items.astype(np.int32), train.n_users, train.n_items)
