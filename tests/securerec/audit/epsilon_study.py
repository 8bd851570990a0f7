"""How often audits of the true mechanism go beyond what it claims, at the defaults of `securerec run` on ML-100K.

    python tests/securerec/audit/epsilon_study.py [AUDITS] [ROUNDS] [DRAWS]

For each method: how many of AUDITS (50) bounds are beyond the accountant's claim, how many beyond the exact epsilon of
the stated noise (at most 5 of 50 may be), and the median bound. Sums are opened for ROUNDS (5) of the run's 40 rounds,
and uploads drawn DRAWS (400) times: fewer than `audit_epsilon` does, so that 50 audits take minutes.
"""

import statistics
import sys

import numpy as np

from attacks.epsilon import EpsilonBound
from securerec.audit import epsilon as audit
from securerec.config import make_config
from securerec.federation.promise import make_promises, planned


def main(audits: int = 50, rounds: int = 5, draws: int = 400) -> None:
    config = make_config({"start": {"head": False}}).resolved(943)
    promise = make_promises(config.privacy, planned(config, 1682), cohort=943, noise_source="seed")["round"]
    found: dict[tuple[str, int], list[EpsilonBound]] = {}
    for seed in range(audits):
        rng = np.random.default_rng(seed)
        bounds = [
            *audit.audit_uploads(promise, rounds=1, rng=rng, draws=draws),
            *audit.audit_uploads(promise, rounds=2, rng=rng, draws=draws),
            *audit.audit_sum(promise, rng=rng, draws=10 * draws),
            audit.audit_one_run(promise, rounds=rounds, rng=rng),
            audit.audit_one_shot(promise, rounds=rounds, rng=rng),
        ]
        for number, bound in enumerate(bounds):
            found.setdefault((bound.method, number), []).append(bound)
        print(f"\r{seed + 1} of {audits}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    for (method, _), bounds in found.items():
        first = bounds[0]
        print(
            f"{method:28}  claimed {first.claim.epsilon:8.3f}  exact {first.claim.exact_epsilon:8.3f}  "
            f"median {statistics.median(b.lower for b in bounds):8.3f}  "
            f"beyond the claim {sum(b.refutes_claim for b in bounds):2}  "
            f"beyond the noise {sum(b.refutes_noise for b in bounds):2}  [{first.setting.split(';')[0]}]"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
