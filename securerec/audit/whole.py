"""The whole audit of one run: its views, its epsilon, its devices against a server that lies, its secure sum."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from attacks import Finding, run_attacks
from attacks.attempts import Attempt
from attacks.crypto.attempts import run_attempts
from attacks.epsilon import EpsilonBound
from attacks.registry import Attack
from securerec.audit.epsilon import audit_epsilon
from securerec.audit.lying_server import GUARDS, Stage, audit_lying_server
from securerec.audit.recording import named, recorded_cases
from securerec.config import Config
from securerec.data.dataset import Dataset
from securerec.errors import RunError
from securerec.federation.continuing import PARENT
from securerec.federation.folder import RunFolder
from securerec.federation.promise import make_promises, planned

STAGED_CLIENTS = 24
"""Devices of the cohort that a lying server plays with: the protocol's part is real, so it is kept small."""
STAGED_ROUNDS = (1, 10)
PARENT_NOT_AUDITED = (
    "What the run that this one continues had released was not attacked, nor what both tell together: of both only the "
    "epsilon is stated."
)


@dataclass(frozen=True, slots=True)
class RunAudit:
    """findings: attacks on recorded views. bounds: on the mechanism's epsilon. attempts: by a server that lies, then on
    the cryptography. left_out: what was not audited, and why, a sentence each.
    """

    findings: list[Finding]
    bounds: list[EpsilonBound]
    attempts: list[Attempt]
    left_out: tuple[str, ...] = ()

    @property
    def broken(self) -> list[str]:
        """What did not hold, a phrase each: attempts that did not end as documented, an epsilon above the claim."""
        attempts = [f"{each.name} against {each.against}" for each in self.attempts if not each.as_promised]
        bounds = [f"epsilon by {each.method}, {each.setting}" for each in self.bounds if each.refutes_claim]
        return attempts + bounds

    def to_json(self) -> dict[str, Any]:
        return {
            "findings": [finding.to_json() for finding in self.findings],
            "epsilon_bounds": [bound.to_json() for bound in self.bounds],
            "attempts": [attempt.to_json() for attempt in self.attempts],
            "broken": self.broken,
            "left_out": list(self.left_out),
        }


def _say(step: Callable[[str], None], what: str, attack: Attack[Any, Any]) -> None:
    step(f"{what}: {attack.name}")


def audit_run(folder: RunFolder, dataset: Dataset, *, seed: int, step: Callable[[str], None]) -> RunAudit:
    """Attack all that a run promised. step: told what goes on.

    Raises RunError for a run without recorded views, ViewError for files that are not sound.
    """
    config = folder.config()
    if not any(folder.views.rglob("round-*")):
        raise RunError(f"{folder.path} has no recorded views: run again with --record-views (they are secret data)")
    findings: list[Finding] = []
    for release, case in recorded_cases(folder.views).items():
        found = run_attacks(case, seed=seed, before=partial(_say, step, f"attacking the {release}"))
        findings += named(found, release)

    rounds, interactions = config.training.rounds or 0, dataset.interactions
    bounds: list[EpsilonBound] = []
    releases = planned(config, interactions.n_items)
    promises = make_promises(config.privacy, releases, cohort=interactions.n_users, noise_source="seed")
    gaussian = config.privacy.mechanism == "gaussian" and config.privacy.unit == "user"
    for planned_release in releases if gaussian else ():
        step(f"bounding the epsilon of {planned_release.name} from below")
        bounds += audit_epsilon(
            promises[planned_release.name], rounds=planned_release.count, seed=seed, release=planned_release.name,
            kinds=len(releases),
        )  # fmt: skip

    protocol = config.protocol.protocol
    step("playing a server that lies")
    stages = [
        Stage.of(dataset, config, clients=STAGED_CLIENTS, round_number=number, seed=seed)
        for number in STAGED_ROUNDS
        if number <= rounds and config.privacy.unit == "user"
    ]
    guards = {name: GUARDS[name] for name in ("no guards", "all guards")}
    lies, read = audit_lying_server(stages, protocol=protocol, seed=seed, guards=guards)
    breaks = run_attempts(
        (protocol, "tenseal"), before=lambda attack, name: step(f"attacking {name}: {attack.name}")
    )  # fmt: skip
    left_out = (*not_audited(config), *((PARENT_NOT_AUDITED,) if folder.has_identity(PARENT) else ()))
    return RunAudit([*findings, *read], bounds, [*lies, *breaks], left_out)


def not_audited(config: Config) -> tuple[str, ...]:
    """What an audit of a run with this configuration leaves out, and why, a sentence each."""
    privacy = config.privacy
    start = (
        ("No server lied about the warm start: the lies above are told to devices that train PFedRec alone.",)
        if config.start.head
        else ()
    )
    if privacy.unit == "interaction":
        return (
            "The epsilon of one interaction was not bounded from below, and no server lied to devices that train by "
            "DP-SGD: neither is played here. Attacks on people are no test of its promise: to a person it claims "
            "nothing.",
        )
    if privacy.mechanism != "gaussian":
        return (
            f"The epsilon was not bounded from below: the bounds played here are for Gaussian noise, not for "
            f"{privacy.mechanism}.",
            *start,
        )
    return start
