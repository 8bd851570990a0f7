"""What is to be summed: lengths, cohort sizes and bounds. All that a protocol's parameters are derived from."""

import math
import struct
from dataclasses import dataclass
from functools import cached_property

from protocols.errors import SpecError

ROUNDS_PER_KEY = 1 << 16
"""A key serves this many rounds at most; the failure probabilities below hold over all of them together."""

FAILURE_BITS = 64
"""Every tail bound fails with probability below 2**-FAILURE_BITS over the life of a key."""

_ENCODED = struct.Struct("<QIIQd")
ENCODED_BYTES = _ENCODED.size


def tail_factor(events: int) -> float:
    """How many deviations `events` centred sub-Gaussian variables, and their negatives, all stay within.

    A sub-Gaussian variable of variance proxy v has P(X >= t sqrt(v)) <= exp(-t^2 / 2) (Vershynin, High-Dimensional
    Probability, 2.5). Union over both signs, all events and ROUNDS_PER_KEY rounds: t^2 = 2 ln(2 events rounds 2^64).
    """
    return math.sqrt(2 * (math.log(2 * events * ROUNDS_PER_KEY) + FAILURE_BITS * math.log(2)))


@dataclass(frozen=True)
class SumSpec:
    """A sum of integer vectors over a cohort.

    length: values of one vector. max_clients, min_clients: the sum is opened for that many contributors only.
    value_bound: the largest absolute value of one client's vector before noise. noise_sigma: the parameter of the
    discrete Gaussian that each client adds to every value; 0 for none.
    """

    length: int
    max_clients: int
    min_clients: int
    value_bound: int
    noise_sigma: float = 0.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("length", 1, 1 << 24),
            ("max_clients", 1, 1 << 20),
            ("min_clients", 1, 1 << 20),
            ("value_bound", 1, 1 << 40),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise SpecError(f"{name} must be a whole number from {low} to {high}, not {value!r}.")
        if self.min_clients > self.max_clients:
            raise SpecError(f"min_clients ({self.min_clients}) is larger than max_clients ({self.max_clients}).")
        sigma = self.noise_sigma
        if isinstance(sigma, bool) or not isinstance(sigma, int | float) or not 0 <= sigma <= 1 << 40:
            raise SpecError(f"noise_sigma must be a number from 0 to 2**40, not {sigma!r}.")
        if self.max_clients * self.upload_bound >= 1 << 61:
            raise SpecError("The sums would not fit in 64-bit integers: lower value_bound, noise_sigma or max_clients.")

    @cached_property
    def upload_bound(self) -> int:
        """Largest absolute value of one client's noised vector, but for a probability below 2**-64 a key."""
        tail = self.noise_sigma * tail_factor(self.length * self.max_clients) if self.noise_sigma else 0.0
        return self.value_bound + math.ceil(tail)

    @cached_property
    def sum_bound(self) -> int:
        """Largest absolute value of a sum over max_clients, but for a probability below 2**-64 a key."""
        return self.sum_bound_of(self.max_clients)

    def sum_bound_of(self, n_clients: int) -> int:
        """Largest absolute value of a sum over `n_clients`: n value_bound + t noise_sigma sqrt(n).

        A discrete Gaussian of parameter sigma is sub-Gaussian with variance proxy sigma^2: E exp(sX) <= exp(s^2 sigma^2
        / 2) (Canonne, Kamath, Steinke 2020, The Discrete Gaussian for Differential Privacy), so a sum of n independent
        ones has proxy n sigma^2. t is `tail_factor` over the fields. The values before noise need no probability.
        """
        noise = self.noise_sigma * math.sqrt(n_clients) * tail_factor(self.length) if self.noise_sigma else 0.0
        return n_clients * self.value_bound + math.ceil(noise)

    def encode(self) -> bytes:
        """ENCODED_BYTES bytes, the same for equal specifications."""
        return _ENCODED.pack(self.length, self.max_clients, self.min_clients, self.value_bound, float(self.noise_sigma))

    @classmethod
    def decode(cls, data: bytes) -> "SumSpec":
        """Inverse of `encode`. Raises SpecError for numbers out of range."""
        return cls(*_ENCODED.unpack(data))
