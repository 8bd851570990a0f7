import numpy as np
import pytest

from securerec.models.popularity import DOUBTFUL, SMOOTHING, estimated_popularity


def a_catalogue(seed: int, n_items: int = 1500) -> tuple[np.ndarray, np.ndarray]:
    """Popularity that its features foretell in part, and features."""
    rng = np.random.default_rng(seed)
    features = (rng.random((n_items, 6)) < 0.3).astype(np.float32)
    foretold = np.exp(0.5 + features @ rng.normal(0, 0.8, 6))
    return foretold * rng.gamma(1.0, 1.0, n_items), features


@pytest.mark.parametrize("seed", range(3))
def test_under_much_noise_the_estimate_is_nearer_to_the_truth_than_the_smoothed_release(seed: int) -> None:
    truth, features = a_catalogue(seed)
    noise = 1.5 * truth.mean()
    noisy = truth + noise * np.random.default_rng(seed + 100).normal(size=len(truth))
    estimate = estimated_popularity(noisy, noise, features)
    assert (estimate > 0).all()
    plain = np.maximum(noisy, 0) + SMOOTHING
    assert np.corrcoef(np.log(estimate), np.log(truth))[0, 1] > np.corrcoef(np.log(plain), np.log(truth))[0, 1] + 0.05


def test_under_little_noise_the_release_itself_is_taken() -> None:
    truth, features = a_catalogue(0)
    noisy = truth + 0.1 * np.random.default_rng(0).normal(size=len(truth))
    want = np.maximum(noisy, 0) + SMOOTHING
    np.testing.assert_array_equal(estimated_popularity(noisy, DOUBTFUL * noisy.mean(), features), want)
    np.testing.assert_array_equal(estimated_popularity(noisy, 0.0, features), want)


def test_noise_that_drowns_everything_leaves_finite_positive_values() -> None:
    truth, features = a_catalogue(0, n_items=60)
    for scale in (1e2, 1e6):
        noisy = scale * np.random.default_rng(0).normal(size=len(truth))
        estimate = estimated_popularity(noisy, scale, features)
        assert np.isfinite(estimate).all() and (estimate > 0).all()
    assert np.isfinite(estimated_popularity(-np.abs(truth), 1.0, features[:, :0])).all()
