"""From events to epsilon.

`figures` reads events and says what is guaranteed to whom; `losses` is what they cost; `accountants` adds it up by the
mathematics in `gaussian` (with the proof that the default accountant rests on), `curves` and `shuffle`, or asks the
libraries in `numeric`.
"""

from securerec.privacy.accounting.accountants import ACCOUNTANTS, Counted, composed_epsilon, count
from securerec.privacy.accounting.figures import (
    INTERACTION,
    REPLACE,
    ZERO_OUT,
    Epsilon,
    central_epsilon,
    interaction_epsilon,
    local_epsilon,
    model_epsilon,
)
from securerec.privacy.accounting.gaussian import closeness
from securerec.privacy.accounting.losses import Cost, Pure, Sampled, Skellam
from securerec.privacy.accounting.numeric import prv_epsilon, rdp_epsilon

__all__ = [
    "ACCOUNTANTS",
    "INTERACTION",
    "REPLACE",
    "ZERO_OUT",
    "Cost",
    "Counted",
    "Epsilon",
    "Pure",
    "Sampled",
    "Skellam",
    "central_epsilon",
    "closeness",
    "composed_epsilon",
    "count",
    "interaction_epsilon",
    "local_epsilon",
    "model_epsilon",
    "prv_epsilon",
    "rdp_epsilon",
]
