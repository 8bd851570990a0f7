import numpy as np
import pytest

from attacks.goals.attributes import Uploads
from attacks.people.attributes import upload_itself
from attacks.registry import all_attacks, run_attacks
from attacks.views import DenseUploads

ATTACKS = {attack.name: attack for attack in all_attacks() if attack.goal.name == "attributes"}
SHARE = "share of the way from {} to upper"


def run(name, case):
    return {found.target: found for found in run_attacks(case, attacks=[ATTACKS[name]], seed=3)}


def pure_noise(simulated, seed):
    noise = np.random.default_rng(seed).normal(size=(60, 300, 16)).astype(np.float32)
    return simulated.view("noised_upload", 5, DenseUploads(np.arange(60), noise))


def test_inferred_items_tell_all_that_true_histories_tell(simulated, people_case):
    found = run("inferred items", people_case(simulated.unprotected(4)))
    assert {"gender", "heavy user", "new user", "fan of red"} <= set(found)
    for target in ("gender", "heavy user", "fan of red"):
        one = found[target]
        assert one.beyond.low > 0 and one.result.mean > 0.7
        assert one.others[SHARE.format(one.against)].mean == pytest.approx(1, abs=0.1)


def test_uploads_tell_without_any_model_of_them(simulated, people_case):
    found = run("upload as it is", people_case(simulated.unprotected(4)))
    assert found["heavy user"].result.low > 0.6 and found["gender"].beyond.low > 0


@pytest.mark.parametrize("name", ATTACKS)
def test_pure_noise_tells_nothing(simulated, people_case, name):
    """Six questions at three seeds at 95%: at most two may seem answered."""
    answers = [run(name, people_case(pure_noise(simulated, seed))) for seed in range(3)]
    assert sum(found.beyond.low > 0 for each in answers for found in each.values()) <= 2
    assert abs(np.mean([each["gender"].result.mean for each in answers]) - 0.5) < 0.15


def test_components_keep_the_angles_between_uploads(simulated, people_case):
    """As far as 59 components of 60 clients can: all of them."""
    view = simulated.noised(2, 1.0, np.random.default_rng(0))
    whole = np.concatenate([block.reshape(len(block), -1) for block in view.blocks()]).astype(np.float64)
    whole -= whole.mean(axis=0)
    whole /= np.linalg.norm(whole, axis=1, keepdims=True)
    features = upload_itself(Uploads(view, people_case(view).public))
    assert np.allclose(features @ features.T, whole @ whole.T, atol=1e-3)
