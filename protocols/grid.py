"""Reading decrypted coefficients: residues to signed numbers, numbers to the grid, grid points to fields. Exact."""

import math

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64] | NDArray[np.object_]


def centred(residues: NDArray[np.uint64], primes: tuple[int, ...]) -> Numbers:
    """Residues (primes, n) to the representatives (n,) nearest zero: 64-bit for one prime, else Python's integers."""
    modulus = math.prod(primes)
    if len(primes) == 1:
        numbers = residues[0].view(np.int64).copy()
        numbers[numbers > modulus // 2] -= modulus
        return numbers
    combined = np.zeros(residues.shape[1], object)
    for row, q in zip(residues, primes, strict=True):
        others = modulus // q
        combined += row.astype(object) * (others * pow(others, -1, q))
    return (combined + modulus // 2) % modulus - modulus // 2


def nearest(numbers: Numbers, scale: int) -> tuple[Numbers, int]:
    """The nearest points of the grid of this step, in steps, and the largest distance from one."""
    grid = (numbers + scale // 2) // scale
    return grid, int(np.abs(numbers - grid * scale).max())


def fields_of(grid: Numbers, *, radix: int, fields: int, bound: int, length: int) -> NDArray[np.int64] | None:
    """The values (length,) int64 within +-bound that grid points hold, `fields` each; None if they hold none such."""
    digits = grid + bound * sum(radix**f for f in range(fields))
    values = np.empty((fields, len(grid)), np.int64)
    for field in values:
        field[:] = digits % radix - bound
        digits //= radix
    flat = values.reshape(-1)
    return None if digits.any() or flat[length:].any() else flat[:length]
