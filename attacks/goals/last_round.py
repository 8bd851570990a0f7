"""What attacks on people look at: the last recorded round, in which each upload still stands for one client."""

from collections.abc import Iterator
from typing import Any

from attacks.case import Case
from attacks.errors import AttackError
from attacks.registry import Attack
from attacks.views import UploadView


def last_views(attack: Attack[Any, Any], case: Case) -> Iterator[UploadView]:
    """The last recorded view of each kind that the attack applies to and that holds an upload for each client.

    Raises AttackError where the truth is not of the same items, ViewError where it lacks one of the clients.
    """
    for kind in case.recording.kinds():
        if kind not in attack.kinds or kind == "opened_sum":
            continue
        view = case.recording.view(kind, case.recording.rounds(kind)[-1])
        if case.truth.n_items != view.n_items:
            raise AttackError(
                f"the truth knows {case.truth.n_items} items, the view {view.n_items}: they are not of one run"
            )
        case.truth.places(view.clients)
        yield view
