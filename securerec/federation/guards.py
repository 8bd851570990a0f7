"""What a device looks at before it answers: is the item table it was sent one that honest rounds could have led to?

A secure sum hides a device among the others only while they all train alike. A server that sends the others tables of
its own making can silence them, or give each a place of its own in the sum (`attacks.lying_server`). Each check below
stands by itself, needs nothing but what the device has, and refuses in a sentence.

- *Agreement.* The broadcast that everybody answers is signed for one table; a device compares. Who answers another
  broadcast is no part of the same sum: the protocols see to that.
- *Once.* A table is answered with one update. A second update for it, from a cohort that lacks somebody, would let a
  server subtract.
- *Reach.* The first table is the one that everybody can compute. From then on a round moves the table by a mean of
  uploads, each held within known bounds: what lies further off, no honest server sent. Nor is there a table of a round
  beyond those that the run was begun for.
- *Rows and scores*, where uploads are not noised and reach is wide: rows of enormous length, or a score function that
  after training is certain about most of the catalogue, mean that the step followed the table's making and not the
  device's items. Under noise they are not looked at, since strong noise alone may carry an honest table there.

Agreement, once and reach refuse no honest round, but for the noise's tail. The thresholds of the last two are far
outside what honest rounds show: on MovieLens-100K, 100 rounds without privacy, rows are up to 19 long and no score
lies beyond +-60.

Not seen here: a table for all alike that singles somebody out within these bounds, and what follows from the sums of
honest rounds. Against both stands the noise.
"""

import hashlib
import math
from collections.abc import MutableMapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.spec import FAILURE_BITS, ROUNDS_PER_KEY, tail_factor
from securerec.errors import SecurerecError
from securerec.privacy.mechanism import FixedPoint, Mechanism

Table = NDArray[np.float32]

CERTAIN_LOGIT = 60.0
"""A score beyond this is certain: to float32 its probability is 0 or 1, and local training reads no more from it."""

_ROUNDING = 1e-6
"""What rounding to float32 may add to a round's movement, as a fraction of the table."""


class TableRefused(SecurerecError):
    """A device does not answer: the message says what was wrong with the table it was sent."""

    exit_code = 8


@dataclass(frozen=True, slots=True)
class Guards:
    """Which checks a device makes, with their thresholds. All are on unless an audit turns them off.

    agreement: compare the table with the digest that the broadcast is signed for. once: answer a table with one update
    only. reach: see `Origin`. row_norm: the longest item row, L2; None for any. certain_share: the largest share of the
    catalogue whose score after local training may lie beyond CERTAIN_LOGIT; None for any.
    """

    agreement: bool = True
    once: bool = True
    reach: bool = True
    row_norm: float | None = 1e4
    certain_share: float | None = 0.5


NO_GUARDS = Guards(agreement=False, once=False, reach=False, row_norm=None, certain_share=None)
"""For audits: what a server could do to devices that trust it."""


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """Where the item table starts, and how far one honest round can move it.

    table: (n_items, dim), which anybody can compute from the run's public seed; round 1 broadcasts it. coordinate,
    whole: the largest change of one value, and the largest L2 change of the table, from one round to the next. noised:
    whether noise is part of that. rounds: how many the run has.
    """

    table: Table
    coordinate: float
    whole: float
    noised: bool
    rounds: int

    @classmethod
    def of(
        cls, table: Table, quantiser: Mechanism | FixedPoint, *, min_survivors: int, server_lr: float, rounds: int
    ) -> "Origin":
        """The bounds that hold for a mean of at least min_survivors uploads, noise included.

        They are exact but for noise, which exceeds them with a probability below 2^-64 over 2^16 rounds: one value by
        the tail of a sub-Gaussian variable (`protocols.spec.tail_factor`), the norm of d of them by Hsu, Kakade, Zhang
        2012: P(|X| > sigma (sqrt d + sqrt 2t)) <= exp(-t).
        """
        unit = server_lr / quantiser.scale
        noise = quantiser.tail_sigma(max_clients=min_survivors, min_clients=min_survivors) / math.sqrt(min_survivors)
        coordinate = quantiser.value_bound + noise * tail_factor(quantiser.dimension)
        if isinstance(quantiser, FixedPoint):
            whole = coordinate * math.sqrt(quantiser.dimension)
            return cls(table, unit * coordinate, unit * whole, noised=False, rounds=rounds)
        t = math.log(ROUNDS_PER_KEY) + FAILURE_BITS * math.log(2)
        spread = math.sqrt(quantiser.dimension) + math.sqrt(2 * t)
        if type(quantiser) is not Mechanism:
            # what is not a discrete Gaussian is held by its coordinates alone
            spread = math.sqrt(quantiser.dimension) * tail_factor(quantiser.dimension)
        whole = quantiser.sensitivity + noise * spread
        return cls(table, unit * coordinate, unit * whole, noised=True, rounds=rounds)


class TableWatch:
    """Follows the tables that devices are sent from round to round."""

    def __init__(self, guards: Guards, origin: Origin) -> None:
        self._guards, self._origin = guards, origin
        self._last, self._last_round = origin.table, 1

    def look(self, table: Table, round_number: int) -> None:
        """Take note of a round's table (n_items, dim). Raises TableRefused, and then remembers the one before."""
        what = f"The item table of round {round_number}"
        if table.shape != self._origin.table.shape or not np.isfinite(table).all():
            raise TableRefused(f"{what} is refused: it must hold {self._origin.table.shape} finite values.")
        if not self._origin.noised:
            self._check_rows(table, what)
        if self._guards.reach:
            self._check_reach(table, round_number, what)
        self._last, self._last_round = table, round_number

    def _check_rows(self, table: Table, what: str) -> None:
        longest = float(np.sqrt((table.astype(np.float64) ** 2).sum(axis=1).max()))
        limit = self._guards.row_norm
        if limit is not None and longest > limit:
            raise TableRefused(
                f"{what} is refused: a row has the length {longest:.3g}, and devices take no more than {limit:g}; "
                "lower the learning rates if the server is honest."
            )

    def _check_reach(self, table: Table, round_number: int, what: str) -> None:
        if round_number > self._origin.rounds:
            raise TableRefused(f"{what} is refused: the run has {self._origin.rounds} rounds.")
        rounds = max(round_number - self._last_round, 0)
        change = np.abs(table.astype(np.float64) - self._last)
        largest, whole = float(change.max()), float(np.sqrt((change**2).sum()))
        length = float(np.sqrt((self._last.astype(np.float64) ** 2).sum()))
        slack = _ROUNDING * (length + rounds * self._origin.whole)
        coordinate, norm = rounds * (self._origin.coordinate + slack), rounds * (self._origin.whole + slack)
        if largest <= coordinate and whole <= norm:
            return
        if rounds == 0:
            raise TableRefused(
                f"{what} is refused: it is not the table that the run starts from or that this device knows of that "
                "round."
            )
        raise TableRefused(
            f"{what} is refused: since the last one, honest rounds move a value by at most {coordinate:.3g} and the "
            f"table by {norm:.3g}, but here it was {largest:.3g} and {whole:.3g}."
        )


def check_once(
    guards: Guards, answered: MutableMapping[tuple[int, bytes], str], client: int, digest: bytes, update: str
) -> None:
    """Record that a device answers the table of this digest with this update. Raises TableRefused for another update.

    answered: what was recorded before, by device and table; it must outlive whatever runs the device takes part in.
    The same update again is a retry, which is sent with the same noise and tells nothing new.
    """
    known = answered.get((client, digest))
    if guards.once and known is not None and known != update:
        raise TableRefused(
            f"Device {client} has answered this item table before: a second update for it could be subtracted from the "
            "first."
        )
    answered[client, digest] = update


def check_scores(guards: Guards, client: int, scores: NDArray[np.float32]) -> None:
    """Look at how the table it was sent scores under a device's function after training. Raises TableRefused.

    scores: (n_items,) logits of the rows as they were sent: how far training moved them is the learning rate's doing.
    """
    share = float(np.mean(np.abs(scores) > CERTAIN_LOGIT))
    if guards.certain_share is not None and share > guards.certain_share:
        raise TableRefused(
            f"Device {client} does not answer: after training on this table {share:.0%} of its scores are certain, and "
            f"{guards.certain_share:.0%} is the most it accepts; lower the learning rates if the server is honest."
        )


def table_digest(table: Table, basis: bytes = b"") -> bytes:
    """32 bytes that differ for different item tables; what a round's broadcast is signed for.

    basis: digest of what devices were sent beside the table, if anything.
    """
    shape = np.array((*table.shape, len(basis)), np.int64).tobytes()
    return hashlib.sha256(b"securerec item table\0" + shape + basis + np.ascontiguousarray(table).tobytes()).digest()
