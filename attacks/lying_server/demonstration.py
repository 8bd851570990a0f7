"""Runs a lying server's attack through a round, and says what it read of its targets' items or who refused."""

import numpy as np
from numpy.typing import NDArray

from attacks.attempts import Attempt
from attacks.errors import AttackError
from attacks.findings import Estimate, Finding
from attacks.goals.items import client_measures
from attacks.lying_server.stage import Play, Refused, Situation, TableAttack
from attacks.measures import CHANCE_AUC, estimates
from attacks.views import OpenedSum, Truth, UploadView

READ = 0.9
"""AUC and F1, means over targets, from which on their items count as read."""


def demonstrate(
    attack: TableAttack, situation: Situation, play: Play, truth: Truth, *, against: str, rng: np.random.Generator,
    rounds: int = 1, foreseen: bool = False,
) -> tuple[Attempt, Finding | None]:  # fmt: skip
    """Play the attack on targets that `rng` draws, all that one round can show in each of some rounds.

    against: names what is attacked, in the attempt and the finding. rounds: each begins in the same situation with
    other targets. foreseen: as in `Attempt`. No finding where the round was refused. Raises AttackError where the
    situation gives the attack no target.
    """
    per_round = attack.targets(situation)
    if per_round == 0:
        raise AttackError(
            f"the attack {attack.name} has no target in round {situation.round_number}: it comes too late"
        )
    order = rng.permutation(situation.clients).tolist()
    measured = []
    for number in range(min(rounds, len(order) // per_round)):
        targets = order[number * per_round : (number + 1) * per_round]
        try:
            played = play(attack.tables(situation, targets))
        except Refused as refusal:
            return Attempt(attack.name, attack.adversary, against, False, str(refusal), foreseen), None
        there = np.array([target not in played.refusals for target in targets])
        if not there.any():
            outcome = f"The sum opened without its targets. {played.refusals[targets[0]]}"
            return Attempt(attack.name, attack.adversary, against, False, outcome, foreseen), None
        guess = attack.read(situation, targets, played.total)
        measured += _measure(situation, np.array(targets)[there], guess.scores[there], guess.predicted[there], truth)
    finding = _finding(attack.name, against, situation.round_number, np.array(measured), rng)
    reached, found = finding.result.mean, finding.others["F1"].mean
    outcome = (
        f"The sum opened: AUC {reached:.3f}, F1 {found:.3f} on the items of {finding.n} targets, {per_round} a round; "
        f"popularity alone has AUC {finding.controls['popularity'].mean:.3f}."
    )
    succeeded = reached >= READ and found >= READ
    return Attempt(attack.name, attack.adversary, against, succeeded, outcome, foreseen), finding


def _measure(
    situation: Situation,
    targets: NDArray[np.int64],
    scores: NDArray[np.float32],
    predicted: NDArray[np.bool_],
    truth: Truth,
) -> list[NDArray[np.float64]]:
    # Only what the round is scored by: popularity and who is scored.
    view = UploadView(
        "opened_sum", situation.round_number, situation.table, situation.popularity, situation.population,
        OpenedSum(targets.astype(np.int64), np.zeros_like(situation.table)),
    )  # fmt: skip
    return list(client_measures(view, scores, predicted, truth))


def _finding(
    name: str, against: str, round_number: int, measured: NDArray[np.float64], rng: np.random.Generator
) -> Finding:
    own, alone, beyond, tpr, found = estimates(measured, rng)
    return Finding(
        attack=name, goal="lying server", target="items of each target", view=against, rounds=(round_number,),
        n=len(measured), measure="AUC", result=own,
        controls={"popularity": alone, "chance": Estimate.exact(CHANCE_AUC)}, against="popularity", beyond=beyond,
        others={"TPR at 1% FPR": tpr, "F1": found},
    )  # fmt: skip
