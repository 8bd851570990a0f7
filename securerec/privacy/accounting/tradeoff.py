"""What a figure lets an attacker's best test reach: true positives at a given rate of false ones.

The test is told everything but one user: all other inputs, the neighbouring pair, and what was released. It says which
of the two it was. No attack, whatever it knows beside or computes, does better.
"""

import math
from collections.abc import Iterable

from scipy import special

from securerec.privacy.accounting.accountants import Gaussian


def of_gaussian(whole: Gaussian, false_positive_rate: float) -> float:
    """The most that a test reaches: Phi(Phi^-1(false_positive_rate) + mu) (Dong, Roth, Su 2019).

    kappa moves both rates by a factor exp(kappa) at most.
    """
    grown = math.exp(min(whole.kappa, 700.0))
    rate = min(1.0, false_positive_rate * grown)
    return min(1.0, grown * float(special.ndtr(special.ndtri(rate) + whole.mu)))


def of_pairs(pairs: Iterable[tuple[float, float]], false_positive_rate: float) -> float:
    """The most that a test reaches where each of these (epsilon, delta) holds: the least of all their bounds.

    Wasserman, Zhou 2010: at most e^epsilon fpr + delta, and at most 1 - e^-epsilon (1 - delta - fpr).
    """
    most = 1.0
    for epsilon, delta in pairs:
        if epsilon > 700:
            continue
        most = min(
            most,
            math.exp(epsilon) * false_positive_rate + delta,
            1 - math.exp(-epsilon) * (1 - delta - false_positive_rate),
        )
    return most
