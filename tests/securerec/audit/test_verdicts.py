from typing import Any

import pytest

from securerec.audit.verdicts import MARGIN, headline, party_of, sentence, verdict


def finding(beyond: list[float | None], **changed: Any) -> dict[str, Any]:
    return {
        "attack": "a", "goal": "items", "target": "items of each client", "view": "noised_upload", "rounds": [1],
        "n": 9, "measure": "AUC", "result": [0.9, 0.8, 0.95], "controls": {"popularity": [0.8, 0.7, 0.85]},
        "against": "popularity", "beyond": beyond, "others": {},
    } | changed  # fmt: skip


@pytest.mark.parametrize(
    ("beyond", "expected"),
    [
        ([0.1, 0.05, 0.2], "leaks"),
        ([0.1, 0.01, 0.2], "unclear"),
        ([0.0, -0.01, MARGIN], "nothing found"),
        ([0.1, None, None], "unclear"),
    ],
)
def test_verdict_goes_by_the_whole_interval(beyond: list[float | None], expected: str) -> None:
    assert verdict(finding(beyond)) == expected


def test_headline_is_the_round_that_got_furthest_for_each_attack_and_view() -> None:
    near, far = finding([0.1, 0.0, 0.2], rounds=[1]), finding([0.3, 0.2, 0.4], rounds=[5])
    other = finding([0.0, 0.0, 0.0], view="opened_sum")
    assert headline([near, far, other]) == [far, other]


def test_sentence_says_what_was_learnt_and_against_what() -> None:
    said = sentence(finding([0.1, 0.05, 0.2]))
    assert said.startswith("learns items of each client by a: AUC 0.900 (0.800 to 0.950) where popularity gives 0.800")
    assert sentence(finding([0.0, 0.0, 0.0])).startswith("learns nothing measurable")
    assert "interval unknown" in sentence(finding([0.1, None, None], result=[0.9, None, None]))


def test_every_view_has_its_party() -> None:
    views = ["unprotected_upload", "noised_upload", "opened_sum", "sum of noised uploads"]
    assert len({party_of(view) for view in views}) == len(views)
