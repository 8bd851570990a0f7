import numpy as np
import pytest

from attacks.measures import auc
from attacks.people import inferred


def mean_auc(scores, simulated, clients):
    return np.mean([auc(row, has) for row, has in zip(scores, simulated.truth.positives(clients), strict=True)])


@pytest.mark.parametrize("noised", [False, True])
def test_cosines_are_those_of_whole_centred_matrices(simulated, noised):
    def seen(number):
        view = simulated.noised(number, 0.5, np.random.default_rng(number)) if noised else simulated.unprotected(number)
        whole = np.concatenate([block.reshape(len(block), -1) for block in view.blocks()]).astype(np.float64)
        whole -= whole.mean(axis=0)
        return view, whole / np.linalg.norm(whole, axis=1, keepdims=True)

    (ours, left), (theirs, right) = seen(2), seen(5)
    assert np.allclose(inferred.cosines(ours, theirs), left @ right.T, atol=1e-4)


def test_unprotected_uploads_leave_no_doubt_about_any_item(simulated):
    has = simulated.truth.positives(np.arange(60))
    found = inferred.probabilities(simulated.unprotected(4))
    assert np.mean((found > 0.5) == has) > 0.999
