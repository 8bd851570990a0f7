import io

import pytest
from rich.console import Console

from attacks.attempts import Attempt, attempts_table


@pytest.mark.parametrize(
    ("succeeded", "foreseen", "as_promised", "verdict"),
    [
        (False, False, True, "failed"),
        (True, True, True, "succeeded, as documented"),
        (True, False, False, "SUCCEEDED"),
        (False, True, False, "FAILED, though it has to succeed"),
    ],
)
def test_a_broken_promise_and_a_control_that_fails_stand_out(
    succeeded: bool, foreseen: bool, as_promised: bool, verdict: str
) -> None:
    attempt = Attempt("swap", "the network", "plain", succeeded, "A sentence.", foreseen)
    assert attempt.as_promised is as_promised and attempt.verdict == verdict


def test_the_table_names_an_attack_once_and_shows_every_outcome() -> None:
    attempts = [Attempt("swap", "the network", name, False, f"Refused by {name}.") for name in ("plain", "ckks")]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(attempts_table([*attempts, Attempt("replay", "a server", "ckks", True, "It [worked].")]))
    text = console.export_text()
    assert text.count("swap") == 1 and "Refused by plain." in text and "Refused by ckks." in text
    assert "It [worked]." in text and "SUCCEEDED" in text


def test_attempts_are_plain_data() -> None:
    assert Attempt("swap", "the network", "plain", True, "It worked.", True).to_json() == {
        "name": "swap", "adversary": "the network", "against": "plain", "succeeded": True, "outcome": "It worked.",
        "foreseen": True,
    }  # fmt: skip
