"""The releases by which a large catalogue has its item-item model: vectors, sums through protocols, who arrives."""

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from securerec.config import make_config
from securerec.data.dataset import Dataset
from securerec.data.interactions import Interactions
from securerec.experiments.chaos.local import enrol_locally
from securerec.federation import results
from securerec.federation.arriving import public_start
from securerec.federation.parties.attempt import Deadlines
from securerec.federation.parties.exchange import LocalExchange
from securerec.federation.parties.server import ServerRun
from securerec.federation.promise import planned
from securerec.federation.run import Run
from securerec.federation.stored import read_arrays
from securerec.federation.warm_start import (
    NoisySum,
    SketchVectors,
    WarmStart,
    cold_start,
    warm_start,
    warm_steps,
)
from securerec.models import neighbours
from securerec.models.head import public_features
from securerec.models.sketch import first_basis, item_scales, scaled
from securerec.training.cohort import Table
from securerec.training.updates import Updates

N_ITEMS = 20
NAMES = ["sketch", "sketch 2", "sketch 3"]


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every catalogue of more than 10 items were a large one."""
    monkeypatch.setattr(neighbours, "MOST_ITEMS", 10)


def some_products(seed: int = 0) -> SketchVectors:
    rng = np.random.default_rng(seed)
    lists = [rng.permutation(N_ITEMS)[: rng.integers(1, 9)].tolist() for _ in range(6)]
    basis = scaled(first_basis(N_ITEMS, 4), item_scales(rng.random(N_ITEMS)))
    return SketchVectors(np.arange(6), Interactions.from_lists(lists, N_ITEMS), basis)


def settings(protocol: str = "plain", rounds: int = 1) -> Any:
    values: dict[str, Any] = {
        "seed": 3, "data": {"dataset": "toy", "sampled_negatives": 15}, "training": {"rounds": rounds},
        "start": {"segments": (), "pairs": 4}, "privacy": {"privacy": False}, "protocol": {"protocol": protocol},
        "evaluation": {"published": False},
    }  # fmt: skip
    return make_config(values).resolved(24, 50)


def test_a_device_elsewhere_computes_the_same_product_to_the_byte() -> None:
    whole = some_products()
    elsewhere = copy.deepcopy(whole.part(np.array([1, 4])))
    assert elsewhere.lists.n_users == 2
    for client in (1, 4):
        for here, there in zip(whole.of(client), elsewhere.of(client), strict=True):
            assert here.tobytes() == there.tobytes()
    with pytest.raises(KeyError):
        elsewhere.of(2)


def test_a_digest_of_products_is_of_lists_clients_and_basis() -> None:
    whole = some_products()
    lists = [whole.lists.of(user).tolist() for user in range(6)]
    shorter = SketchVectors(whole.clients, Interactions.from_lists([*lists[:5], lists[5][:-1]], N_ITEMS), whole.basis)
    other = SketchVectors(whole.clients, whole.lists, whole.basis * np.float32(2))
    digests = {each.digest() for each in (whole, some_products(), shorter, other, whole.part(np.arange(5)))}
    assert len(digests) == 4


@pytest.mark.parametrize("protocol", ["pairwise", "ckks", "ckks-committee"])
def test_products_through_a_protocol_are_the_sums_in_the_clear(
    tmp_path: Path, toy: Dataset, protocol: str, small_limit: None
) -> None:
    found = []
    for each in ("plain", protocol):
        run = Run.create(tmp_path / each, settings(each), toy)
        figures = results.execute(run, 1, lambda progress: None)
        sizes = {upload["release"]: upload["bytes"] for upload in figures["uploads"]}
        assert [name for name in sizes if name.startswith("sketch")] == NAMES and "pairs" not in sizes
        assert all((sizes[name] is None) == (each == "plain") for name in NAMES)
        sums = [run.folder.start_sum(name) for name in NAMES]
        assert all(opened is not None and opened.total.any() and not opened.saturated for opened in sums)
        totals = [opened.total for opened in sums if opened is not None]
        found.append((np.concatenate(totals), (tmp_path / each / "model.safetensors").read_bytes()))
    assert np.array_equal(found[0][0], found[1][0]) and found[0][1] == found[1][1]
    assert read_arrays(tmp_path / protocol / "model.safetensors")[0]["inputs"].shape == (50, 4)


def test_what_is_planned_has_the_size_of_what_is_asked(toy: Dataset, small_limit: None) -> None:
    config = settings()
    sizes = {each.name: each.dimension for each in planned(config, 50)}
    start = cold_start(config.training.learner(), toy.interactions, np.random.default_rng(0))
    asked = {}

    def opened(name: str, table: Table, updates: Updates, basis: bytes) -> NoisySum:
        asked[name] = table.size
        return NoisySum(np.zeros(table.shape), 0.0)

    warm_start(
        config.start, config.training.learner(), public_features(toy), start, toy.interactions, opened, basis=b""
    )
    assert asked == {name: size for name, size in sizes.items() if name != "round"} and set(NAMES) <= set(asked)


def test_a_device_alone_walks_the_way_of_the_cohort(tmp_path: Path, toy: Dataset, small_limit: None) -> None:
    """With the sums and its own list it asks for, adds and ends with the same, to the byte; so does everybody of whom
    nothing is known."""
    run = Run.create(tmp_path / "run", settings(), toy)
    learner, features, config = run.config.training.learner(), public_features(toy), run.config.start
    train = run.split.train
    kept: dict[str, tuple[bytes, NoisySum]] = {}

    def opened(name: str, table: Table, updates: Updates, basis: bytes) -> NoisySum:
        total = np.zeros(table.shape)
        for client in range(train.n_users):
            rows, values = updates.of(client)
            total[rows] += values
        kept[name] = basis, NoisySum(total, 0.0)
        everybody[name] = updates
        return kept[name][1]

    everybody: dict[str, Updates] = {}
    cold = cold_start(learner, train, np.random.default_rng(0))
    whole = warm_start(config, learner, features, cold, train, opened, basis=b"run")
    assert list(kept) == ["popularity", *NAMES]
    for user in (0, 7):
        own = Interactions.from_lists([train.of(user).tolist()], train.n_items)
        alone = _walk(config, learner, features, own, kept, {name: each.of(user) for name, each in everybody.items()})
        assert alone.basis == whole.basis
        assert alone.heads.tastes[0].tobytes() == whole.heads.tastes[user].tobytes()
        assert alone.heads.head.directions.tobytes() == whole.heads.head.directions.tobytes()
    nobody = _walk(config, learner, features, Interactions.from_lists([[]], train.n_items), kept, {})
    assert nobody.heads.head.inputs.tobytes() == whole.heads.head.inputs.tobytes()


def _walk(config: Any, learner: Any, features: Any, own: Interactions, kept: Any, added: Any) -> WarmStart:
    steps = warm_steps(config, learner, features, cold_start(learner, own, np.random.default_rng(0)), own, basis=b"run")
    wanted = next(steps)
    while True:
        basis, total = kept[wanted.name]
        assert wanted.basis == basis
        for here, there in zip(wanted.updates.of(0), added.get(wanted.name, ()), strict=False):
            assert here.tobytes() == there.tobytes()
        try:
            wanted = steps.send(total)
        except StopIteration as end:
            start: WarmStart = end.value
            return start


def test_who_arrives_has_the_sketched_model_from_the_opened_sums(
    tmp_path: Path, toy: Dataset, small_limit: None
) -> None:
    run = Run.create(tmp_path / "run", settings(), toy)
    results.execute(run, 1, lambda progress: None)
    start = public_start(run.folder, run.config, toy)
    model = read_arrays(tmp_path / "run" / "model.safetensors")[0]
    assert start.head.inputs.tobytes() == model["inputs"].tobytes() and start.head.inputs.any()
    lists = Interactions.from_lists([run.split.train.of(user).tolist() for user in range(24)], 50)
    heads, _ = start.private(lists, recency=run.config.start.recency, negatives=4)
    kept = read_arrays(next((tmp_path / "run" / "devices").glob("*.safetensors")))[0]
    if "tastes" in kept:
        np.testing.assert_array_equal(heads.tastes, kept["tastes"])
    # items that nobody has touched lead to no other, and have a score
    extended = np.concatenate([public_features(toy).values, public_features(toy).values[:2]])
    grown = start.with_new_items(extended)
    assert grown.head.inputs.shape == (52, 4) and not grown.head.inputs[50:].any()
    more = Interactions.from_lists([run.split.train.of(user).tolist() for user in range(24)], 52)
    again, _ = grown.private(more, recency=run.config.start.recency, negatives=4)
    assert np.isfinite(again.logits(np.arange(24))).all()
    np.testing.assert_allclose(again.tastes[:, -4:], heads.tastes[:, -4:], rtol=1e-6)


def test_a_federation_of_nodes_makes_the_sketch_of_the_run_in_one_process(
    tmp_path: Path, toy: Dataset, small_limit: None
) -> None:
    config = settings().model_copy(update={"evaluation": settings().evaluation.model_copy(update={"keep": "last"})})
    results.execute(Run.create(tmp_path / "run", config, toy), 1, lambda progress: None)
    parties = enrol_locally(tmp_path / "parties", config, toy, nodes=3, run_id=b"a run of sixteen")
    deadlines = Deadlines(first=60.0, later=60.0, settle=0.0, gather=0.0)
    ServerRun(
        parties.path / "server", parties.federation, parties.server, LocalExchange(parties.start), deadlines=deadlines
    ).play()
    alone, _ = read_arrays(tmp_path / "run" / "model.safetensors")
    apart, _ = read_arrays(tmp_path / "parties" / "server" / "model.safetensors")
    assert alone["inputs"].any() and np.array_equal(alone["inputs"], apart["inputs"])
    assert np.array_equal(alone["directions"], apart["directions"])


THREADS = """
import sys
from pathlib import Path
import numpy as np
from securerec.config import make_config
from securerec.data.dataset import BY_ROW, Dataset
from securerec.data.interactions import Interactions
from securerec.federation.pool import DevicePool
from securerec.federation.run import Run
from securerec.models import neighbours

neighbours.MOST_ITEMS = 1000
rng = np.random.default_rng(0)
lists = [rng.permutation(1500)[:40].tolist() for _ in range(300)]
dataset = Dataset(
    "threads", Interactions.from_lists(lists, 1500), tuple(map(str, range(300))), tuple(map(str, range(1500))),
    tuple(map(str, range(1500))), rng.integers(1930, 1999, 1500).astype(np.int16), rng.random((1500, 18)) < 0.2,
    tuple(map(str, range(18))), {}, "none", "none", BY_ROW,
)
values = {"seed": 1, "protocol": {"protocol": "plain"}, "start": {"segments": ()}, "privacy": {"privacy": False}}
run = Run.create(Path(sys.argv[1]), make_config(values).resolved(300, 1500), dataset)
with DevicePool(1) as pool:
    start = run.start(pool, None)
assert start.heads.head.inputs.shape == (1500, 64)
print(start.basis.hex(), hash(start.heads.tastes.tobytes()), hash(start.heads.head.directions.tobytes()))
"""


def test_a_sketch_does_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    found = set()
    for threads in ("1", "2"):
        environment = os.environ | {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads, "PYTHONHASHSEED": "0"}
        done = subprocess.run(
            [sys.executable, "-c", THREADS, str(tmp_path / threads)], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        found.add(done.stdout)
    assert len(found) == 1
