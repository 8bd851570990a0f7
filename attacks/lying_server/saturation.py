"""One device is sent the honest table, all others a table that makes whatever they upload lie on one known line.

Pasquini, Francati, Ateniese, "Eluding Secure Aggregation in Federated Learning via Model Inconsistency", CCS 2022, send
everybody but the target a model whose gradients vanish. Here a gradient vanishes only where a score is certain and
right, and the server does not know who has which item. It does not need to. A device changes row i by -rate (p_i - y_i)
w, after its vector w took a step -rate' sum_j (p_j - y_j) e_j. If every row e_j is A (1, ..., 1), that step is a
multiple of (1, ..., 1) so long that in float32 nothing of the device's own w is left, whatever it was. From then on all
values of w are equal, and so are all values of each row's change: clipped, rounded or cut at a bound, they stay equal.
The sum's part across (1, ..., 1) is the target's change and nobody else's, less one dimension of dim; the rank-1 sign
attack reads its items from that.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from attacks.case import Public
from attacks.goals.items import ItemScores, Seen
from attacks.interactions.rank_one import rank_one
from attacks.lying_server.stage import Situation, Table, TableAttack
from attacks.views import DenseUploads, UploadView

LENGTH = np.float32(1e10)
"""A. float32 holds 24 bits: the step must be some 10^8 times as long as the device's own vector, and its products with
rows must stay finite."""


def _tables(situation: Situation, targets: Sequence[int]) -> Mapping[int, Table]:
    trap = np.full_like(situation.table, LENGTH)
    return {int(client): situation.table if int(client) in targets else trap for client in situation.clients}


def _read(situation: Situation, targets: Sequence[int], total: NDArray[np.float64]) -> ItemScores:
    across = total - total.mean(axis=1, keepdims=True)
    across[np.abs(across).max(axis=1) < situation.step / 2] = 0
    view = UploadView(
        "unprotected_upload", situation.round_number, situation.table, situation.popularity, situation.population,
        DenseUploads(np.array(targets, np.int64), across[None].astype(np.float32)),
    )  # fmt: skip
    return rank_one(Seen((view,), Public()))


SATURATION = TableAttack(
    name="saturation",
    adversary="a server that sends devices different tables; it sees the opened sum alone",
    source="Pasquini, Francati, Ateniese, CCS 2022, carried over to PFedRec",
    summary="all but the target get enormous equal rows, which leave of their uploads only what lies on a known line",
    targets=lambda situation: 1 if situation.table.shape[1] > 1 else 0,
    tables=_tables,
    read=_read,
)
