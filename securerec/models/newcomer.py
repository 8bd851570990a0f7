"""What a warm start leaves for everybody to see, and what a device makes of it alone, at any later time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from securerec.data.interactions import Interactions
from securerec.models.head import Floats, Head, Heads, calibrated_biases, fit_tastes
from securerec.models.new_items import ROW_RIDGE, extended_directions, foretold, ridge
from securerec.models.scorers import ScoreFunctions
from securerec.models.segments import GAINS, Segments, next_loadings


@dataclass(frozen=True, slots=True, eq=False)
class PublicStart:
    """The public part of a warm start, from which a device needs nothing but its own list.

    head: everybody's. table: (n_items, width) what the releases of segments taught of the items; segments: the
    directions of each of them, in their order, their columns of the table side by side. popularity: (n_items,) as it
    was released.
    """

    head: Head
    table: Floats
    segments: tuple[Segments, ...]
    popularity: NDArray[np.float64]

    def private(self, lists: Interactions, *, recency: float, negatives: int) -> tuple[Heads, ScoreFunctions]:
        """What devices with these lists have before round 1, as a warm start's: heads, and score functions on `table`,
        without weights where there are no segments.
        """
        loadings = [
            np.float32(GAINS[min(number, len(GAINS) - 1)]) * next_loadings(segments, lists)
            for number, segments in enumerate(self.segments)
        ]
        weights = np.concatenate([np.zeros((lists.n_users, 0), np.float32), *loadings], axis=1)
        heads = Heads(self.head, fit_tastes(self.head, lists, recency=recency, weights=weights, table=self.table))
        return heads, ScoreFunctions(weights, calibrated_biases(heads, negatives, weights, self.table))

    def with_new_items(self, values: NDArray[np.float32]) -> "PublicStart":
        """With items that nobody has touched after the others, in the coordinates of the old ones, so that private
        parts stay what they are. values: features of all, see `new_items.carried`.

        Raises RunError where this start was not made from such features.
        """
        base, table = foretold(values, self.head.base, self.table)
        segments, before = [], 0
        for each in self.segments:
            directions = extended_directions(each.directions, values, table[:, :before], base)
            segments.append(Segments(directions, each.curvature, each.recency))
            before += 1 + each.width
        fitted = extended_directions(self.head.directions[:, : self.head.fitted], values, table, base)
        # nobody's list has a new item yet, so it leads to no other; what leads to it follows from its features
        known, new = values[: len(self.head.base)], values[len(self.head.base) :]
        outputs = self.head.directions[:, self.head.fitted :]
        outputs = np.concatenate([outputs, ridge(known, outputs, new, ROW_RIDGE)])
        nothing = np.zeros((len(new), self.head.inputs.shape[1]), np.float32)
        inputs = np.concatenate([self.head.inputs, nothing]) if self.head.inputs.size else self.head.inputs
        head = Head(base, np.concatenate([fitted, outputs], axis=1), inputs)
        popularity = np.append(self.popularity, np.zeros(len(base) - len(self.popularity)))
        return PublicStart(head, table, tuple(segments), popularity)
