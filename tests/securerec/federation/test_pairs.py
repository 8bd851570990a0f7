"""The release of pairs: every device's vector, its sum through protocols, and sums in the clear without it."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from securerec.config import make_config
from securerec.data.dataset import Dataset
from securerec.data.interactions import Interactions
from securerec.federation import results
from securerec.federation.run import Run
from securerec.federation.stored import read_arrays
from securerec.federation.summing import clear_sum
from securerec.federation.warm_start import PairVectors
from securerec.models.neighbours import pair_width
from securerec.privacy.mechanism import FixedPoint
from securerec.privacy.randomness import NoiseKey
from securerec.training.updates import RowUpdates

N_ITEMS = 20


def some_pairs(exponent: float = 0.3, seed: int = 0) -> PairVectors:
    rng = np.random.default_rng(seed)
    lists = [rng.permutation(N_ITEMS)[: rng.integers(1, 9)].tolist() for _ in range(6)]
    return PairVectors(np.arange(6), Interactions.from_lists(lists, N_ITEMS), exponent)


def test_a_device_elsewhere_computes_the_same_pairs_to_the_byte() -> None:
    whole = some_pairs()
    elsewhere = copy.deepcopy(whole.part(np.array([1, 4])))
    assert elsewhere.lists.n_users == 2
    for client in (1, 4):
        for here, there in zip(whole.of(client), elsewhere.of(client), strict=True):
            assert here.tobytes() == there.tobytes()
    with pytest.raises(KeyError):
        elsewhere.of(2)


def test_a_digest_of_pairs_is_of_all_that_they_follow_from() -> None:
    whole = some_pairs()
    assert whole.digest() == some_pairs().digest()
    lists = [whole.lists.of(user).tolist() for user in range(6)]
    others = []
    for user in range(6):
        turned = [list(reversed(each)) if number == user else each for number, each in enumerate(lists)]
        others += [turned] if turned != lists else []
    changed = [PairVectors(whole.clients, Interactions.from_lists(each, N_ITEMS), 0.3) for each in others]
    digests = {each.digest() for each in [whole, some_pairs(0.4), whole.part(np.arange(5)), *changed]}
    assert len(digests) == 3 + len(changed) and len(changed) >= 4


@pytest.mark.parametrize("protocol", ["pairwise", "ckks", "ckks-committee"])
def test_pairs_through_a_protocol_are_the_sum_in_the_clear(tmp_path: Path, toy: Dataset, protocol: str) -> None:
    found = []
    for each in ("plain", protocol):
        values: dict[str, Any] = {
            "seed": 3, "data": {"dataset": "toy", "sampled_negatives": 15}, "training": {"rounds": 1},
            "start": {"segments": (), "pairs": 4}, "privacy": {"privacy": False}, "protocol": {"protocol": each},
            "evaluation": {"published": False},
        }  # fmt: skip
        run = Run.create(tmp_path / each, make_config(values).resolved(24, 50), toy)
        figures = results.execute(run, 1, lambda progress: None)
        sizes = {upload["release"]: upload["bytes"] for upload in figures["uploads"]}
        assert (sizes["pairs"] is None) == (each == "plain")
        opened = run.folder.start_sum("pairs")
        assert opened is not None
        found.append((opened.total, (tmp_path / each / "model.safetensors").read_bytes()))
    assert np.array_equal(found[0][0], found[1][0]) and found[0][0].any() and found[0][1] == found[1][1]
    inputs = read_arrays(tmp_path / protocol / "model.safetensors")[0]["inputs"]
    assert inputs.shape == (50, 4)


def test_a_clear_sum_of_pairs_is_that_of_their_dense_vectors() -> None:
    pairs = some_pairs()
    quantiser = FixedPoint(N_ITEMS * pair_width(N_ITEMS), 12, 2**20)
    opened = clear_sum(quantiser, pairs, 6, lambda client: NoiseKey.from_seed(0).stream("pairs", 1, client))
    dense = np.zeros((N_ITEMS, pair_width(N_ITEMS)))
    for client in range(6):
        rows, values = pairs.of(client)
        for row, value in zip(rows, values, strict=True):
            dense[row] += np.rint(value.astype(np.float64) * 2**12)
    assert np.array_equal(opened.total, dense.ravel().astype(np.int64))


@given(seed=st.integers(0, 2**16), n_clients=st.integers(1, 5), bound=st.sampled_from([3, 2**20]))
def test_a_clear_sum_of_touched_rows_is_that_of_whole_vectors(seed: int, n_clients: int, bound: int) -> None:
    """Recorded, every client's whole vector is made and added; else only the rows it touched are."""
    rng, n_rows, width = np.random.default_rng(seed), 7, 3
    touched = [rng.permutation(n_rows)[: rng.integers(0, n_rows + 1)].astype(np.int32) for _ in range(n_clients)]
    cuts = np.concatenate([[0], np.cumsum([len(rows) for rows in touched])]).astype(np.int64)
    delta = rng.normal(size=(cuts[-1], width)).astype(np.float32)
    updates = RowUpdates(np.arange(n_clients), cuts, np.concatenate(touched), delta)
    quantiser = FixedPoint(n_rows * width, 4, bound)

    def summed(record: bool) -> Any:
        return clear_sum(
            quantiser, updates, n_clients, lambda client: NoiseKey.from_seed(0).stream("round", 1, client),
            record=record,
        )  # fmt: skip

    fast, slow = summed(False), summed(True)
    assert np.array_equal(fast.total, slow.total) and fast.saturated == slow.saturated
    assert np.array_equal(slow.total, slow.recorded.sum(axis=0)) and fast.recorded is None
