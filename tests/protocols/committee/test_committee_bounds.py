"""What one client may add to the sum without being noticed: no more than the survivors together could have."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from protocols import RoundAborted


@pytest.mark.parametrize("beyond", [0, 1])
def test_a_sum_that_its_survivors_cannot_reach_is_not_opened(make_committee: Callable[[], Any], beyond: int) -> None:
    """Six of at most eight clients: the fields hold more than the six can say."""
    committee = make_committee()
    spec = committee.spec
    committee.values = {client: np.zeros(spec.length, np.int64) for client in committee.values}
    opened = committee.open()
    reachable = spec.sum_bound_of(len(committee.values))
    assert spec.upload_bound < reachable + 1 <= spec.sum_bound
    for client in committee.values:
        joined = committee.run.client(client).join(opened.broadcast.data)
        joined.provide(committee.values[client])
        if client == 10:
            # A client's own program would refuse such values; this one's is another.
            joined._values = np.full(spec.length, reachable + beyond)
        opened.receive(joined.answer(opened.broadcast.data))
    opened.close_phase()
    if beyond:
        with pytest.raises(RoundAborted, match=f"a sum beyond {reachable}"):
            committee.finish(opened)
    else:
        assert (committee.finish(opened).values == reachable).all()
