from pathlib import Path

import pytest

from securerec.config import make_config
from securerec.data.dataset import Dataset
from securerec.experiments.scorer_costs import SCORERS, measure_scorers
from securerec.federation import results
from securerec.federation.run import Progress, Run


def test_every_scorer_is_measured_and_only_a_shared_network_makes_uploads_longer(toy: Dataset) -> None:
    costs = {(cost.model, cost.dual): cost for cost in measure_scorers(toy, dim=8, step=lambda what: None)}
    assert tuple(costs) == SCORERS and len(costs) == 8
    items = 8 * toy.interactions.n_items
    for key, cost in costs.items():
        shares_network = key == ("fedncf", False)
        assert (cost.shared_parameters > items) == shares_network
        assert cost.float32_bytes == 4 * cost.shared_parameters
        assert cost.round_ms > 0 and cost.recommend_ms > 0
    assert costs["pfedrec", True].private_parameters == 9 and costs["fedmf", True].private_parameters == 8
    network = costs["fedncf", True].private_parameters - costs["fedncf", False].private_parameters
    assert items + network <= costs["fedncf", False].shared_parameters < items + network + 8


class Enough(Exception):
    pass


def test_the_bytes_are_those_that_a_run_s_devices_send(toy: Dataset, tmp_path: Path) -> None:
    cost = {(each.model, each.dual): each for each in measure_scorers(toy, dim=4, step=lambda what: None)}
    values = {
        "data": {"dataset": "toy", "sampled_negatives": 15}, "evaluation": {"published": False},
        "training": {"model": "fedncf", "dual": False, "dim": 4},
    }  # fmt: skip
    n_users = toy.interactions.n_users
    run = Run.create(tmp_path / "run", make_config(values).resolved(n_users, toy.interactions.n_items), toy)
    seen: list[float] = []

    def stop(progress: Progress) -> None:
        seen.append((progress.bytes_sent or 0) / run.cohort)
        raise Enough

    with pytest.raises(Enough):
        results.execute(run, 1, stop)
    # messages name who else takes part, and few do where the cost is measured
    assert abs(seen[0] / cost["fedncf", False].upload_bytes - 1) < 0.2
