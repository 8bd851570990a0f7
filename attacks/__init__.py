"""What an adversary learns from what it saw: attacks on recorded views, scored against the truth with controls.

Works on arrays alone, whatever recommender they came from. `run_attacks` is the entry; `python -m attacks` is the
same for files. An attack is one module with one function under `registry.register`, for one of `attacks.goals`.
"""

from attacks.case import Case, LocalTraining, Public, Recording
from attacks.findings import Estimate, Finding
from attacks.registry import run_attacks
from attacks.views import DenseUploads, OpenedSum, RowUploads, Truth, UploadView

__all__ = [
    "Case",
    "DenseUploads",
    "Estimate",
    "Finding",
    "LocalTraining",
    "OpenedSum",
    "Public",
    "Recording",
    "RowUploads",
    "Truth",
    "UploadView",
    "run_attacks",
]
