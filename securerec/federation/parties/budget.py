"""Whether another attempt at a release still fits into the epsilon that a federation was begun with."""

from collections.abc import Mapping, Sequence

from securerec.config import PrivacySettings
from securerec.errors import PrivacyError
from securerec.federation.promise import Promise, figure_of
from securerec.privacy.accounting import local_epsilon
from securerec.privacy.events import Event


def release_labels(promises: Mapping[str, Promise], rounds: int) -> dict[str, str]:
    """Kinds of release by the labels that ledgers have for them, in the order in which they come."""
    labels = {name: name for name in promises if name != "round"}
    return labels | {f"round {number}": "round" for number in range(1, rounds + 1) if "round" in promises}


def attempts_of(label: str, events: Sequence[Event]) -> int:
    """How many attempts at a release there are in a ledger."""
    return sum(event.label.split(",")[0] == label for event in events)


def check_budget(
    settings: PrivacySettings, promises: Mapping[str, Promise], rounds: int, known: Sequence[Event], event: Event
) -> None:
    """Raise PrivacyError where this event, those in the ledger and those that are still planned exceed the epsilon."""
    gone = {each.label.split(",")[0] for each in (*known, event)}
    planned = [
        promises[name].event(label) for label, name in release_labels(promises, rounds).items() if label not in gone
    ]
    after = (*known, event, *planned)
    for budget, count in ((settings.epsilon, figure_of(settings)), (settings.local_epsilon, local_epsilon)):
        if budget is not None and count(after, delta=settings.delta).epsilon > budget * (1 + 1e-9):
            raise PrivacyError(
                f"{event.label} would spend more than the epsilon of {budget:g} that the run was begun with: begin one "
                "with a larger privacy.spare_attempts"
            )
