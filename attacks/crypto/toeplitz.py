"""Toeplitz systems modulo a prime, in time that grows with the square of their size."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def solve(below: Sequence[int], above: Sequence[int], right: Sequence[int], q: int) -> NDArray[np.object_] | None:
    """x with T x = right modulo the prime q, or None where a leading block of T is singular.

    T[i, j] is below[i - j] for i >= j and above[j - i] for i <= j; below[0] = above[0]. Levinson's recursion: f and b
    solve the leading block for its first and last unit vector (Golub, Van Loan, Matrix Computations, 4.7).
    """
    column, row = np.array(below, object), np.array(above, object)
    if not column[0] % q:
        return None
    f = b = np.array([pow(int(column[0]), -1, q)], object)
    x = np.array([right[0] * f[0] % q], object)
    for n in range(1, len(right)):
        turned = column[n:0:-1]
        f_error, b_error = int(turned @ f % q), int(row[1 : n + 1] @ b % q)
        determinant = (1 - f_error * b_error) % q
        if not determinant:
            return None
        inverse = pow(determinant, -1, q)
        first, last = np.append(f, 0), np.concatenate([[0], b])
        f = (first - f_error * last) * inverse % q
        b = (last - b_error * first) * inverse % q
        x = (np.append(x, 0) + (right[n] - int(turned @ x)) * b) % q
    return x
