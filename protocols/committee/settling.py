"""Who is in the sum and who opens it, from what the members said of the clients' boxes. No key, no message."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.committee.parameters import Parameters
from protocols.committee.sharing import wrong_columns


@dataclass
class Judgement:
    """What one member has said so far. came: of how many clients; bad: those whose boxes are no good.

    projections: of the round's clients by rising id, in the layout `Parameters.projections`, zero where there is none.
    """

    projections: NDArray[np.uint64]
    bad: frozenset[int] = frozenset()
    came: int = 0

    @classmethod
    def empty(cls, parameters: Parameters, n_clients: int) -> "Judgement":
        return cls(parameters.projections(n_clients).zeros())

    def take(self, n_clients: int, bad: frozenset[int], projections: NDArray[np.uint64]) -> None:
        """Add what it says of the next n_clients."""
        width = projections.shape[1]
        start = width // n_clients * self.came
        self.projections[:, start : start + width] = projections
        self.bad |= bad
        self.came += n_clients


@dataclass(frozen=True)
class Settled:
    """kept: the clients in the sum; asked: the members that open it; complaints: who is left out and why, a sentence
    each.
    """

    kept: frozenset[int]
    asked: frozenset[int]
    complaints: tuple[str, ...]


def settle(
    clients: Sequence[int],
    judges: Mapping[int, Judgement],
    places: Mapping[int, int],
    *,
    parameters: Parameters,
    min_survivors: int,
) -> Settled:
    """clients: all that uploaded, by rising id. judges: by number, the members that are left; places: theirs.

    A client is left out if any member that will be asked finds its box no good or returns a projection that does not
    fit the others', or if no few of its projections explain that they do not fit together. See also `select`.
    """
    numbers = {place: member for member, place in places.items()}
    complained = {member: judge.bad for member, judge in judges.items()}
    shared_badly: frozenset[int] = frozenset()
    threshold, checks = parameters.threshold, parameters.checks
    while True:
        kept, asked = select(
            frozenset(clients) - shared_badly, complained, threshold=threshold, min_survivors=min_survivors
        )
        columns = [checks * i + check for i, client in enumerate(clients) if client in kept for check in range(checks)]
        shares = {places[member]: np.ascontiguousarray(judges[member].projections[:, columns]) for member in asked}
        misfits = wrong_columns(shares, threshold=threshold, primes=parameters.primes)
        if not misfits:
            break
        # Others may be left now, with members that were set aside before or with clients that were left out: once more.
        for column, wrong in misfits.items():
            client = frozenset((clients[columns[column] // checks],))
            if wrong is None:
                shared_badly |= client
            for place in wrong or ():
                complained[numbers[place]] |= client

    def why_aside(member: int) -> str:
        if judges[member].bad:
            return f"it finds the boxes of {len(judges[member].bad)} clients no good"
        return f"what it says of the shares of {len(complained[member])} clients does not fit what the others say"

    def why_out(client: int) -> str:
        if client in shared_badly:
            return f"its shares, as {len(asked)} decryptors have them, lie on no common polynomial"
        judge = min(member for member in asked if client in complained[member])
        if client in judges[judge].bad:
            return f"its box is no good for decryptor {judge}"
        return f"its share, as decryptor {judge} has it, does not fit the others"

    aside = (f"decryptor {member} is set aside: {why_aside(member)}." for member in sorted(judges.keys() - asked))
    out = (f"client {client} is left out: {why_out(client)}." for client in clients if client not in kept)
    return Settled(kept, asked, (*aside, *out))


def select(
    uploads: frozenset[int],
    complained: Mapping[int, frozenset[int]],
    *,
    threshold: int,
    min_survivors: int,
) -> tuple[frozenset[int], frozenset[int]]:
    """(the clients in the sum, the members asked to open it), from each present member's complaints.

    A client is left out if any member that will be asked complains of it. Where that leaves too few clients, members
    are set aside, those with most complaints first, as long as `threshold` remain.
    """
    asked = set(complained)
    while True:
        kept = uploads.difference(*(complained[member] for member in asked))
        worst = max(asked, key=lambda member: (len(complained[member]), -member))
        if len(kept) >= min_survivors or len(asked) <= threshold or not complained[worst]:
            return kept, frozenset(asked)
        asked.remove(worst)
