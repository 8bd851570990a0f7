import numpy as np
import pytest
from scipy import stats

from attacks.case import Case, Recording
from attacks.goals.membership import Trials
from attacks.registry import all_attacks, run_attacks
from attacks.sums.likelihood_ratio import likelihood_ratio

(ATTACK,) = [attack for attack in all_attacks() if attack.goal.name == "membership in a sum"]


def findings(simulated, views):
    return run_attacks(Case(Recording.of(views), simulated.truth, simulated.public), attacks=[ATTACK])


def test_ratio_is_that_of_the_two_gaussian_densities():
    rng = np.random.default_rng(2)
    n_items, dim, others = 4, 3, 7
    roots = rng.normal(size=(n_items, dim, dim))
    covariance = roots @ np.swapaxes(roots, 1, 2)
    totals, candidates, mean = rng.normal(size=(3, 5, n_items, dim)).astype(np.float32)
    ridge = 0.01 * np.trace(covariance, axis1=1, axis2=2).mean() / dim * np.eye(dim)
    got = likelihood_ratio(Trials(totals, candidates, others, mean, covariance))
    for trial in range(5):
        wanted = 0.0
        for item in range(n_items):
            law = stats.multivariate_normal(others * mean[trial, item], others * (covariance[item] + ridge))
            wanted += law.logpdf(totals[trial, item] - candidates[trial, item]) - law.logpdf(totals[trial, item])
        assert got[trial] == pytest.approx(wanted, rel=1e-4, abs=1e-4)


def test_a_known_upload_is_found_in_an_unprotected_sum(simulated):
    small, whole = findings(simulated, [simulated.unprotected(4)])
    assert small.target == "one client in a sum of 30 or not" and small.n == 400
    assert small.result.low > 0.9 and whole.result.low > 0.8
    assert 1 < small.others["epsilon of this sum at least"].mean < 6
    assert small.others["TPR at 1% FPR"].mean > 0.3


def test_noise_brings_the_test_to_what_the_noise_allows(simulated):
    """The best test between Gaussians mu apart has the AUC Phi(mu / sqrt 2); mu is the norm over n clients' noise."""
    rng = np.random.default_rng(3)
    changes = simulated.changes[4]
    deviation = 40.0
    scale = deviation * np.sqrt(np.mean(changes[simulated.touched[4]] ** 2))
    mu = np.sqrt(np.sum(changes**2, axis=(1, 2))) / (scale * np.sqrt(60))
    bound = stats.norm.cdf(mu / np.sqrt(2)).mean()
    found = findings(simulated, [simulated.unprotected(4), simulated.noised(4, deviation, rng)])[-1]
    assert found.view == "sum of noised uploads" and found.target == "one client in a sum of 60 or not"
    assert bound < 0.6 and found.result.low <= bound
    assert found.others["epsilon of this sum at least"].mean == 0


def test_noised_uploads_alone_give_no_finding(simulated):
    assert findings(simulated, [simulated.noised(4, 1.0, np.random.default_rng(0))]) == []
