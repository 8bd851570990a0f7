"""Differencing within a round: two sums over cohorts that differ by one client give that client's upload away."""

import numpy as np

from attacks.case import Public
from attacks.goals.differencing import DIFFERENCING, Overlap
from attacks.goals.items import ItemScores, Seen
from attacks.interactions.rank_one import rank_one
from attacks.registry import register
from attacks.views import DenseUploads, UploadView


@register(
    DIFFERENCING,
    name="differencing within a round",
    kinds=("unprotected_upload", "noised_upload"),
    adversary="a curious server that has two sums of one round, over a cohort and over all of it but one client",
    source="subtraction; after it the rank-1 sign attack",
    summary="the difference of the sums is the client's upload, as exact as the sums are",
)
def within_a_round(overlap: Overlap) -> ItemScores:
    """The rank-1 sign attack's log-odds (1, n_items) on the difference."""
    (whole,), (rest,) = overlap.present, overlap.absent
    target = np.setdiff1d(whole.clients, rest.clients)
    upload = (whole.total - rest.total).astype(np.float32)[None]
    # The kind that may or may not be noised: an attack on sums is not told.
    view = UploadView(
        "noised_upload", whole.round_number, whole.table, overlap.popularity, overlap.population,
        DenseUploads(target, upload),
    )  # fmt: skip
    return rank_one(Seen((view,), Public()))
