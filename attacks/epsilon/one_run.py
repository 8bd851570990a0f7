"""Audit with one run: many canaries, each in or out by a fair coin; who guesses many coins right has broken privacy.

Steinke, Nasr, Jagielski 2023, "Privacy Auditing with One (1) Training Run".
"""

from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from attacks.epsilon.claims import CONFIDENCE, Claim, EpsilonBound
from attacks.errors import AttackError

METHOD = "one-run canaries"
Run: TypeAlias = Callable[[NDArray[np.bool_], np.random.Generator], NDArray[np.float64]]
"""(included (m,), rng) -> scores (m,), the larger the likelier the canary was in."""

_STEP = 0.25


def audit(
    run: Run, canaries: int, claim: Claim, *, rng: np.random.Generator, setting: str, confidence: float = CONFIDENCE
) -> EpsilonBound:
    """Flip the coins, run once, guess. A canary that is out is the claim's neighbour of one that is in.

    canaries: at least 2.
    """
    if canaries < 2:
        raise AttackError(f"a one-run audit takes at least 2 canaries, but got {canaries}")
    included = rng.integers(2, size=canaries).astype(bool)
    scores = run(included, rng)
    guesses = best_guesses(canaries, claim, confidence)
    correct = correct_guesses(scores, included, guesses)
    lower = lower_bound(canaries, guesses, correct, claim.delta, confidence)
    return EpsilonBound(METHOD, claim, lower, confidence, canaries, f"{setting}; {correct} of {guesses} guesses right")


def correct_guesses(scores: NDArray[np.float64], included: NDArray[np.bool_], guesses: int) -> int:
    """Guess "in" for the upper half of the guesses, "out" for the lower half, and abstain from all between.

    guesses: even, at most as many as canaries.
    """
    if guesses % 2 or not 0 < guesses <= len(scores):
        raise AttackError(f"guesses must be even and at most {len(scores)}, but are {guesses}")
    order = np.argsort(scores, kind="stable")
    half = guesses // 2
    return int(np.count_nonzero(included[order[-half:]]) + np.count_nonzero(~included[order[:half]]))


def p_value(canaries: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    """Probability, at most, of so many correct guesses under any (epsilon, delta)-private mechanism (Theorem 5.2).

    With W ~ Binomial(guesses, e^epsilon / (1 + e^epsilon)): P[W >= correct] + 2 canaries delta max_i P[correct > W >=
    correct - i] / i.
    """
    accuracy = float(special.expit(epsilon))
    tail = float(stats.binom.sf(correct - 1, guesses, accuracy))
    if correct == 0:
        return 1.0
    below = np.cumsum(stats.binom.pmf(np.arange(correct - 1, -1, -1), guesses, accuracy))
    return min(1.0, tail + 2 * canaries * delta * float((below / np.arange(1, correct + 1)).max()))


def lower_bound(canaries: int, guesses: int, correct: int, delta: float, confidence: float = CONFIDENCE) -> float:
    """The epsilon up to which every epsilon is rejected at this confidence, 0 where none is."""

    def rejected(epsilon: float) -> bool:
        return p_value(canaries, guesses, correct, epsilon, delta) < 1 - confidence

    if not rejected(0.0):
        return 0.0
    low = 0.0
    while rejected(low + _STEP):
        low += _STEP
    high = low + _STEP
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if rejected(middle) else (low, middle)
    return low


@lru_cache(maxsize=64)
def best_guesses(canaries: int, claim: Claim, confidence: float = CONFIDENCE) -> int:
    """How many guesses to make, settled by the claim before anything is seen: those that would serve best if it held.

    Scores are then N(0, 1) for canaries that are out and N(mu, 1) for those that are in, and of the best r of m
    guesses those beyond the quantile r / (2 m) of the mixture are right at the rate that its halves have there.
    """
    best, most = 2, -1.0
    grid = np.linspace(-6.0, 6.0 + claim.mu, 4001)
    above = (special.ndtr(-grid) + special.ndtr(claim.mu - grid)) / 2
    for guesses in sorted({2 * max(1, round(canaries * share / 2)) for share in np.geomspace(0.01, 1.0, 25)}):
        if guesses > canaries:
            continue
        threshold = grid[np.searchsorted(-above, -guesses / (2 * canaries))]
        out, within = special.ndtr(-threshold), special.ndtr(claim.mu - threshold)
        expected = round(guesses * within / (out + within))
        bound = lower_bound(canaries, guesses, expected, claim.delta, confidence)
        if bound >= most:  # where the claim lets nothing be seen, a mechanism that breaks it is seen best by many
            best, most = guesses, bound
    return best
