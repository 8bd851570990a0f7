from dataclasses import replace

import numpy as np
import pytest

from securerec.data import cache
from securerec.data.dataset import Dataset


@pytest.fixture
def dated(toy: Dataset) -> Dataset:
    """The small data set with times: every second user comes back a week later for the last item."""
    times = np.arange(toy.interactions.n_interactions, dtype=np.float64)
    times[toy.interactions.offsets[1::2] - 1] += 7 * 86_400
    dataset = replace(toy, timestamps=times)
    cache.save_dataset(dataset)
    return dataset
