"""Gradient disaggregation with known participation: as many sums as clients are as many equations as unknowns.

With P (m, n) who took part and Y (m, n_items * dim) the sums, the uploads X solve P X = Y. Within a round the
least-squares solution is exact, and the rank-1 sign attack follows. Over rounds it is each client's mean upload, with
all clients' changes from round to round spread over everybody as noise; `common_directions` tells them apart.
"""

import numpy as np
from numpy.typing import NDArray

from attacks.case import Public
from attacks.goals.disaggregation import DISAGGREGATION, ManySums
from attacks.goals.items import ItemScores, Seen
from attacks.interactions.rank_one import rank_one
from attacks.registry import register
from attacks.sums.common_directions import log_odds
from attacks.views import DenseUploads, UploadView

_ROUNDING = 1e-9
"""What is smaller than this part of an upload's largest value is what solving in float64 leaves of a zero."""

_SOURCE = "Lam, Wei, Cao, Brooks and Mitzenmacher, 'Gradient Disaggregation', ICML 2021, with participation known"


def solved(sums: ManySums) -> NDArray[np.float64]:
    """(n, n_items, dim), the least-squares solution for each client's upload."""
    solver = np.linalg.pinv(sums.taking_part.astype(np.float64))
    uploads = np.tensordot(solver, sums.totals, axes=1)
    uploads[np.abs(uploads) < _ROUNDING * np.abs(uploads).max(axis=(1, 2), keepdims=True)] = 0
    return np.asarray(uploads)


@register(
    DISAGGREGATION,
    name="least squares within a round",
    kinds=("unprotected_upload", "noised_upload"),
    adversary="a curious server that has more sums of one round than clients, over cohorts it knows",
    source=_SOURCE,
    summary="as many equations as unknowns: each upload is solved for, then attacked by itself",
)
def within_a_round(sums: ManySums) -> ItemScores:
    """The rank-1 sign attack's log-odds (n, n_items)."""
    uploads = solved(sums).astype(np.float32)
    view = UploadView(
        "noised_upload", 1, sums.table, sums.popularity, sums.population,
        DenseUploads(np.arange(len(uploads)), uploads),
    )  # fmt: skip
    return rank_one(Seen((view,), Public()))


@register(
    DISAGGREGATION,
    name="least squares over rounds",
    kinds=("unprotected_upload", "noised_upload"),
    rounds="all",
    adversary="a curious server that has enough sums over several rounds, though not in one, over cohorts it knows",
    source=_SOURCE,
    summary="each client's mean upload is solved for, everybody's changes from round to round being noise",
)
def over_rounds(sums: ManySums) -> ItemScores:
    """Log-odds (n, n_items); the prediction is a log-odds above 0."""
    counts = sums.popularity.astype(np.float64)
    prior = np.log((counts + 0.5) / (sums.population - counts + 0.5))
    uploads = solved(sums)
    grams = np.swapaxes(uploads, 1, 2) @ uploads
    table = sums.table.astype(np.float64)
    touched = np.ones(len(prior), dtype=np.bool_)
    everybody = grams.sum(axis=0)
    scores = np.array(
        [log_odds(upload, everybody - gram, touched, table, prior) for upload, gram in zip(uploads, grams, strict=True)]
    )
    return ItemScores(scores.astype(np.float32), scores > 0)
