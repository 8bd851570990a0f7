import numpy as np
import pytest

from attacks.interactions.common_axis import along_common_axis, log_odds
from attacks.measures import auc
from attacks.views import DenseUploads


def mean_auc(scores, simulated, clients):
    return np.mean([auc(row, has) for row, has in zip(scores, simulated.truth.positives(clients), strict=True)])


@pytest.mark.parametrize("round_number", [1, 3, 6])
def test_common_axis_tells_of_items_that_no_upload_tells_by_itself(simulated, round_number):
    view = simulated.noised(round_number, 5.0, np.random.default_rng(round_number))
    alone = mean_auc(np.tile(view.popularity, (60, 1)), simulated, view.clients)
    assert mean_auc(log_odds(view), simulated, view.clients) > alone + 0.02
    assert mean_auc(along_common_axis(view), simulated, view.clients) > 0.6


def test_pure_noise_leaves_popularitys_ranking(simulated):
    noise = np.random.default_rng(4).normal(size=(60, 300, 16)).astype(np.float32)
    view = simulated.view("noised_upload", 3, DenseUploads(np.arange(60), noise))
    alone = mean_auc(np.tile(view.popularity, (60, 1)), simulated, view.clients)
    assert abs(mean_auc(log_odds(view), simulated, view.clients) - alone) < 0.02
