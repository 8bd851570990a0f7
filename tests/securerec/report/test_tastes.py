from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg

from securerec.data.dataset import Dataset
from securerec.models.head import LATER_STEPS, YEAR_STEPS, Head, grown, make_head, public_features
from securerec.report.tastes import GENRES, OTHERS, POPULARITY, YEARS, named_features


def popularity(dataset: Dataset) -> np.ndarray:
    return np.random.default_rng(0).gamma(1.0, 8.0, dataset.interactions.n_items) + 2


def test_a_taste_in_named_features_scores_as_it_did_and_is_as_likely_under_the_prior(films: Dataset) -> None:
    features, rng = public_features(films), np.random.default_rng(1)
    head = make_head(features, popularity(films))
    named = named_features(films, head)
    assert len(named.names) == features.values.shape[1] + 1
    precision = np.append(features.precision, 10.0)
    for _ in range(5):
        taste = rng.normal(size=head.directions.shape[1:])
        # features that say the same leave directions without length, along which no device is drawn from zero
        taste[np.linalg.norm(head.directions, axis=0) < 1e-5] = 0
        coefficients = named.to_coefficients @ taste
        np.testing.assert_allclose(named.values @ coefficients, head.directions @ taste, atol=1e-4)
        # of all coefficients that score alike, these are the ones that the prior holds for as likely as the taste
        assert coefficients @ (precision * coefficients) == pytest.approx(taste @ taste, rel=1e-3)


def test_features_that_devices_learnt_do_not_change_what_named_ones_count_for(films: Dataset) -> None:
    rng, base = np.random.default_rng(2), np.log(popularity(films))
    # years far enough apart that no two steps say the same, which would leave the turn open
    steps = np.array([1930, *YEAR_STEPS, *LATER_STEPS], np.int16)
    films = replace(films, years=np.concatenate([steps, rng.choice(steps, films.interactions.n_items - len(steps))]))
    learnt = rng.normal(size=(films.interactions.n_items, 3)).astype(np.float32)
    features = grown(public_features(films), learnt)
    head = make_head(features, np.exp(base))
    named = named_features(films, head)
    taste = rng.normal(size=head.directions.shape[1:])
    # the turn of make_head, made again in its own coordinates, and lined up with the directions' signs
    values = np.concatenate([features.values.astype(float), base[:, None]], axis=1)
    share = np.exp(base) / np.exp(base).sum()
    centred = values - share @ values
    precision = np.diag(np.append(features.precision, 10.0))
    curvature, turn = scipy.linalg.eigh((centred * share[:, None]).T @ centred, precision)
    turn = turn[:, np.argsort(-curvature)]
    turn *= np.sign(np.sum((centred @ turn) * head.directions, axis=0))
    expected = turn @ taste
    n_public = public_features(films).values.shape[1]
    kept = [*range(n_public), -1]
    np.testing.assert_allclose(named.to_coefficients @ taste, expected[kept], atol=1e-3)
    left = head.directions @ taste - named.values @ (named.to_coefficients @ taste)
    np.testing.assert_allclose(left, centred[:, n_public:-1] @ expected[n_public:-1], atol=1e-3)


def test_features_are_named_by_what_items_have(films: Dataset) -> None:
    named = named_features(films, make_head(public_features(films), popularity(films)))
    for group, name, values in zip(named.groups, named.names, named.values.T, strict=True):
        has = values > values.min() + 1e-6
        if group == GENRES:
            np.testing.assert_array_equal(has, films.genres[:, films.genre_names.index(name)])
        elif group == YEARS:
            dated = films.years > 0
            np.testing.assert_array_equal(has[dated], films.years[dated] >= int(name.split()[1]))
        else:
            assert group == POPULARITY
    assert {GENRES, YEARS, POPULARITY} == set(named.groups)


def test_a_feature_that_has_no_name_is_numbered_and_one_that_the_head_lacks_is_left_out(films: Dataset) -> None:
    head = make_head(public_features(films), popularity(films))
    other = replace(films, genres=np.roll(films.genres, 7, axis=0))
    assert set(films.genre_names).isdisjoint(named_features(other, head).names)
    from securerec.report.tastes import _names

    groups, names = _names(films, np.arange(films.interactions.n_items, dtype=np.float32)[:, None])
    assert (groups, names) == ([OTHERS], ["feature 1"])


def test_a_run_without_a_head_has_no_features(films: Dataset) -> None:
    n_items = films.interactions.n_items
    named = named_features(films, Head(np.zeros(n_items, np.float32), np.zeros((n_items, 0), np.float32)))
    assert named.names == () and named.values.shape == (n_items, 0)
