"""How much privacy a mechanism really gives: lower bounds on epsilon from what it releases, beside what it claims.

A claim says that nobody tells two neighbouring inputs apart better than (epsilon, delta) allows. An audit runs the
mechanism on neighbours, guesses which, counts, and states an epsilon that the mechanism is not below, at a confidence.
A bound beyond the claim refutes it. A bound below the claim agrees with it and proves no more.

`worst_pair` draws from two fixed neighbours: it has the most power, and bounds by Clopper-Pearson alone, or through the
Gaussian trade-off curve. `one_run` and `one_shot` put canaries into a single run of the whole system. Mechanisms are
callables on arrays: nothing here knows whose they are.
"""

from attacks.epsilon.claims import Claim, EpsilonBound

__all__ = ["Claim", "EpsilonBound"]
