import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from securerec.training import rows


@njit
def dot(shape, a, i, b, j):  # type: ignore[no-untyped-def]
    return rows.dot(shape, a, i, b, j)


@njit
def copy(shape, a, i, b, j):  # type: ignore[no-untyped-def]
    rows.copy(shape, a, i, b, j)


@njit
def add(shape, a, i, factor, b, j):  # type: ignore[no-untyped-def]
    rows.add(shape, a, i, factor, b, j)


@njit
def add_rounded(shape, a, i, scale, limit, b, j):  # type: ignore[no-untyped-def]
    return rows.add_rounded(shape, a, i, scale, limit, b, j)


@pytest.mark.parametrize("dim", [1, 3, 32, 65])
def test_rows_as_vectors_do_what_numpy_does(dim: int) -> None:
    rng, shape = np.random.default_rng(dim), (0,) * dim
    a, b = (rng.normal(size=(n, dim)).astype(np.float32) for n in (4, 5))
    assert dot(shape, a, 2, b, 4) == pytest.approx(float(a[2].astype(np.float64) @ b[4]), abs=1e-5)
    want = a.copy()
    want[3] += np.float32(0.3) * b[1]
    add(shape, a, 3, np.float32(0.3), b, 1)
    np.testing.assert_allclose(a, want, rtol=1e-6, atol=1e-6)
    want[0] = b[2]
    copy(shape, a, 0, b, 2)
    np.testing.assert_array_equal(a[0], want[0])


@pytest.mark.parametrize("dim", [1, 3, 32, 65])
def test_rounded_sums_are_those_of_numpy_and_count_what_met_the_limit(dim: int) -> None:
    rng, shape = np.random.default_rng(dim), (0,) * dim
    b = rng.normal(0, 3, (5, dim)).astype(np.float32)
    b[4] = np.round(b[4] * 4) / 4  # many halves, once scaled by 2
    total = rng.integers(-9, 9, (3, dim))
    want, met = total.copy(), 0
    for row in range(5):
        whole = np.rint(b[row].astype(np.float64) * 2)
        met += int((np.abs(whole) > 5).sum())
        want[1] += np.clip(whole, -5, 5).astype(np.int64)
    assert sum(add_rounded(shape, total, 1, 2.0, 5.0, b, row) for row in range(5)) == met
    np.testing.assert_array_equal(total, want)


def test_matrices_of_another_kind_are_refused() -> None:
    good, shape = np.zeros((4, 4), np.float32), (0,) * 4
    for bad in (good.astype(np.float64), good[:, ::2], np.asfortranarray(np.zeros((4, 3), np.float32)), good[0]):
        with pytest.raises(TypingError, match="must be a C-contiguous float32 one"):
            dot(shape, good, 0, bad, 0)
