"""Plans: what to train with for a wished-for epsilon of one interaction.

Chosen on ML-100K's validation lists, seed 0; that choice is not accounted for as privacy.
"""

from dataclasses import dataclass

from securerec.models.pfedrec import PFedRec
from securerec.privacy.accounting.accountants import DEFAULT
from securerec.training.interaction.calibration import calibrate
from securerec.training.interaction.settings import InteractionSettings


@dataclass(frozen=True, slots=True)
class InteractionPlan:
    """Rounds of DP-SGD, all but the noise. As in `InteractionSettings`; `table_scale` and `function_scale` as in
    `PFedRec`: score functions must not start at zero, or no item row moves.
    """

    rounds: int
    score_lr: float
    item_lr: float
    clip_norm: float = 0.225
    sample_rate: float = 1.0
    steps: int = 1
    dim: int = 8
    negatives: int = 4
    table_scale: float = 0.27
    function_scale: float = 0.52

    def model(self) -> PFedRec:
        """Sizes and initial values; learning rates are `settings`'."""
        return PFedRec(
            dim=self.dim, negatives=self.negatives, table_scale=self.table_scale, function_scale=self.function_scale
        )

    def settings(self, *, epsilon: float, delta: float, accountant: str = DEFAULT) -> InteractionSettings:
        """With the noise that keeps one interaction within epsilon over all rounds. Raises PrivacyError."""
        noise = calibrate(
            epsilon=epsilon, delta=delta, rounds=self.rounds, sample_rate=self.sample_rate, steps=self.steps,
            accountant=accountant,
        )  # fmt: skip
        return InteractionSettings(
            noise, sample_rate=self.sample_rate, steps=self.steps, clip_norm=self.clip_norm, score_lr=self.score_lr,
            item_lr=self.item_lr,
        )  # fmt: skip


_ONE_ROUND = InteractionPlan(
    rounds=1, score_lr=0.001, item_lr=10.0, dim=4, negatives=1, table_scale=0.01, function_scale=1.7
)
"""All noise in one round, the score functions nearly still: no more than a popularity list is learnt."""

PLANS = {
    1.0: _ONE_ROUND,
    2.0: _ONE_ROUND,
    4.0: _ONE_ROUND,
    8.0: InteractionPlan(rounds=20, score_lr=0.11, item_lr=14.0, negatives=3),
}


def plan_for(epsilon: float) -> InteractionPlan:
    """The plan for the nearest epsilon, by ratio, that one was chosen for."""
    return PLANS[min(PLANS, key=lambda known: max(known / epsilon, epsilon / known))]
