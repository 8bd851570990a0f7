"""What a run does whose unit of privacy is one interaction, where nobody has said, and what does not go with that unit.

The plans themselves are in `securerec.training.interaction.plans`.
"""

from collections.abc import Collection, Mapping
from typing import Any

from securerec.errors import ConfigError
from securerec.training.interaction.plans import plan_for

_PLANNED = {
    "training": ("rounds", "dim", "negatives", "score_lr", "table_scale", "function_scale"),
    "privacy": ("clip_norm",),
    "interaction": ("sample_rate", "steps", "item_lr"),
}
_UNUSED = {
    "training": ("item_lr_factor", "batch_size", "local_epochs"),
    "privacy": ("mechanism", "coordinate_cap", "grid_units", "colluding"),
}
"""Settings of uploads that are noised after training, and of PFedRec's two stages."""


def choose_interaction_plan(
    given: Mapping[str, Any], changed: Collection[tuple[str, str]], *, epsilon: float
) -> dict[str, dict[str, Any]]:
    """Settings by section that complete what was given: no warm start, no published twin, the plan for this epsilon.

    given: what was set, by section and key; changed: what was set to something else than its default. Raises
    ConfigError where something does not go with the unit.
    """
    for key in ("local_epsilon", "noise_multiplier"):
        if key in given.get("privacy", {}):
            raise ConfigError(f"privacy.{key} speaks of a user, not of privacy.unit interaction: give epsilon instead")
    start = [key for section, key in changed if section == "start" and given["start"][key] is not False]
    if start:
        raise ConfigError(
            f"start.{start[0]} does not go with privacy.unit interaction: a head and a warm start follow from whole "
            "lists without noise for each interaction, which would break the promise; leave it out, or take unit user"
        )
    for name, keys in _UNUSED.items():
        for key in keys:
            if (name, key) in changed:
                raise ConfigError(f"{name}.{key} has no meaning with privacy.unit interaction: leave out one of them")
    if given.get("evaluation", {}).get("published"):
        raise ConfigError(
            "evaluation.published has no meaning with privacy.unit interaction, where negatives are drawn from the "
            "whole catalogue: leave it out"
        )
    if given.get("training", {}).get("rounds") == 0:
        raise ConfigError("training.rounds is 0 and privacy.unit interaction has no head: nothing would be learnt")
    plan = plan_for(epsilon)
    planned = {
        name: {key: getattr(plan, key) for key in keys if key not in given.get(name, {})}
        for name, keys in _PLANNED.items()
    }
    return planned | {"start": {"head": False}, "evaluation": {"published": False}}
