"""The learners that are compared, and the figures that their papers have for them."""

from dataclasses import dataclass, field
from typing import Any, Literal

Grade = Literal["digest", "doubtful digest", "recalled"]

GRADES: dict[Grade, str] = {
    "digest": "from a written digest of the paper, not checked against the paper",
    "doubtful digest": "from a digest that files it under another data set, not checked",
    "recalled": "quoted from memory in the literature, not checked",
}


@dataclass(frozen=True, slots=True)
class Claim:
    """HR@10 and NDCG@10 under the published protocol, as a paper has them, and how sure it is that it does."""

    hit_rate: float
    ndcg: float
    grade: Grade


@dataclass(frozen=True, slots=True)
class Learner:
    """settings: nested as in a configuration file, on top of the defaults. claims: by data set."""

    name: str
    sentence: str
    settings: dict[str, Any]
    claims: dict[str, Claim] = field(default_factory=dict)


def _settings(model: str, *, dual: bool) -> dict[str, Any]:
    return {"training": {"model": model, "dual": dual}}


LEARNERS: dict[str, Learner] = {
    learner.name: learner
    for learner in (
        Learner("auto", "the best there is here: private head, warm start", {"training": {"model": "auto"}}),
        Learner(
            "pfedrec", "PFedRec as published", _settings("pfedrec", dual=True),
            {
                "ml-100k": Claim(0.7162, 0.4344, "recalled"),
                "ml-1m": Claim(0.7326, 0.4436, "digest"),
                "lastfm-2k-tags": Claim(0.8238, 0.7319, "recalled"),
                "amazon-video": Claim(0.6008, 0.3912, "recalled"),
            },
        ),
        Learner(
            "fedmf", "federated matrix factorisation", _settings("fedmf", dual=False),
            {
                "ml-100k": Claim(0.6515, 0.3938, "doubtful digest"),
                "ml-1m": Claim(0.6772, 0.4090, "digest"),
            },
        ),
        Learner(
            "fedmf+dual", "the same with dual personalisation", _settings("fedmf", dual=True),
            {"ml-1m": Claim(0.7326, 0.4436, "doubtful digest")},
        ),
        Learner(
            "fedncf", "a shared network over user and item", _settings("fedncf", dual=False),
            {
                "ml-100k": Claim(0.6062, 0.3325, "doubtful digest"),
                "ml-1m": Claim(0.6054, 0.3417, "digest"),
            },
        ),
        Learner(
            "fedncf+dual", "the same with dual personalisation", _settings("fedncf", dual=True),
            {"ml-1m": Claim(0.6817, 0.3956, "digest")},
        ),
        Learner(
            "fedrecon", "the private part rebuilt in each round", _settings("fedrecon", dual=False),
            {
                "ml-100k": Claim(0.6445, 0.3778, "doubtful digest"),
                "ml-1m": Claim(0.6328, 0.3659, "digest"),
            },
        ),
        Learner(
            "fedrecon+dual", "the same with dual personalisation", _settings("fedrecon", dual=True),
            {"ml-1m": Claim(0.6889, 0.4004, "digest")},
        ),
    )
}  # fmt: skip
"""Claims: HR@10 and NDCG@10 of "Dual Personalization on Federated Recommendation", IJCAI 2023, none of them checked
against the paper itself; that is what their grades say."""
