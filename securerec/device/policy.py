"""What the owner of a device allows: a file beside the device, read before anything is answered.

    enrolment = "…"                    the key (hex) whose signature makes a federation this one
    servers = ["…"]                    signing keys (hex) of servers that devices answer
    protocols = ["ckks-committee"]     how a sum may be protected
    min_cohort = 100                   fewest devices whose sum may be opened
    max_epsilon = 8.0                  central epsilon of everything that ever leaves
    max_epsilon_day = 8.0              of everything that leaves within 24 hours by this machine's clock
    max_local_epsilon = inf            against whoever opens the device's own uploads, of everything
    delta = 1e-5                       of these epsilons
    reproducible_noise = false         whether noise may grow from a seed: simulation only

A decryptor's policy has the first four alone: it sees no device's spending.

A broadcast beyond the policy is refused in a sentence, and nothing of it is computed. A clock that was set back is
taken to stand where the ledger's last line was stamped. One that was set forward is not noticed: whoever sets the
machine's clock gets the day's budget anew, and `max_epsilon` alone holds.
"""

import hmac
import math
import tomllib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

import tomlkit

from securerec.device.ledger import DAY, DeviceLedger
from securerec.errors import ConfigError, SecurerecError
from securerec.files import write_atomic
from securerec.privacy.accounting import central_epsilon, local_epsilon
from securerec.privacy.events import Event

KEY_HEX = 64
DECRYPTOR = ("enrolment", "servers", "protocols", "min_cohort")
"""What the policy of a decryptor says."""

ROUNDING = 1 + 1e-9
"""An epsilon that was calibrated to a limit may lie above it by the last digits."""


class PolicyRefused(SecurerecError):
    """A broadcast asks for more than the owner of the device allows."""

    exit_code = 8


@dataclass(frozen=True, slots=True)
class Offer:
    """What a broadcast asks of a device.

    server: signing key, 32 bytes; min_survivors: the fewest devices whose sum it would open; event: what it would cost,
    None where that was paid before.
    """

    server: bytes
    protocol: str
    min_survivors: int
    noise_source: str
    event: Event | None


@dataclass(frozen=True, slots=True)
class Policy:
    """The owner's limits; see the module's text for each."""

    enrolment: str
    servers: tuple[str, ...]
    min_cohort: int
    protocols: tuple[str, ...] = ("ckks-committee",)
    max_epsilon: float = 8.0
    max_epsilon_day: float = 8.0
    max_local_epsilon: float = math.inf
    delta: float = 1e-5
    reproducible_noise: bool = False

    def __post_init__(self) -> None:
        for key in (self.enrolment, *self.servers):
            if not isinstance(key, str) or len(key) != KEY_HEX or set(key) - set("0123456789abcdef"):
                raise ConfigError(f"a policy names keys by {KEY_HEX} hexadecimal digits, not by {key!r}")
        if not isinstance(self.min_cohort, int) or self.min_cohort < 1:
            raise ConfigError(f"min_cohort is a number of devices, 1 or more, not {self.min_cohort!r}")
        for name in ("max_epsilon", "max_epsilon_day", "max_local_epsilon"):
            limit = getattr(self, name)
            if not isinstance(limit, int | float) or not limit > 0:
                raise ConfigError(f"{name} is a number above 0 (inf for none), not {limit!r}")
        if not isinstance(self.delta, float) or not 0 < self.delta < 1:
            raise ConfigError(f"delta is a number between 0 and 1, not {self.delta!r}")
        if not isinstance(self.reproducible_noise, bool):
            raise ConfigError(f"reproducible_noise is true or false, not {self.reproducible_noise!r}")
        if not all(isinstance(name, str) for name in self.protocols):
            raise ConfigError("protocols are named by text")

    @property
    def pinned(self) -> bytes:
        """The enrolment key, 32 bytes."""
        return bytes.fromhex(self.enrolment)

    @classmethod
    def read(cls, path: Path, *, decryptor: bool = False) -> Self:
        """The policy in a file. decryptor: it is a decryptor's, and what would not be enforced is refused.

        Raises ConfigError for one that is missing, malformed, or that others may write.
        """
        try:
            if path.stat().st_mode & 0o022:
                raise ConfigError(f"{path} can be written by others: chmod 600 {path}")
            values: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{path} is not valid TOML: {error}") from None
        known = set(DECRYPTOR) if decryptor else {field.name for field in fields(cls)}
        if unknown := set(values) - known:
            whose = "a decryptor's policy" if decryptor else "a policy"
            raise ConfigError(f"{path}: unknown setting {min(unknown)!r}; {whose} has {', '.join(sorted(known))}")
        for name in ("servers", "protocols"):
            if name in values and not isinstance(values[name], list):
                raise ConfigError(f"{path}: {name} is a list")
            if name in values:
                values[name] = tuple(values[name])
        try:
            return cls(**values)
        except TypeError:
            missing = {"enrolment", "servers", "min_cohort"} - set(values)
            raise ConfigError(f"{path}: a policy must say {', '.join(sorted(missing))}") from None
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None

    def write(self, path: Path, *, decryptor: bool = False) -> None:
        """Put the policy in a file of its owner's; a decryptor's has only what it enforces."""
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        if decryptor:
            values = {name: values[name] for name in DECRYPTOR}
        write_atomic(path, tomlkit.dumps(values).encode(), private=True)

    def check(self, offer: Offer, ledger: DeviceLedger, *, now: float) -> None:
        """Raise PolicyRefused unless the device may answer. now: seconds since 1970."""
        self.check_server(offer.server, offer.protocol)
        if offer.min_survivors < self.min_cohort:
            raise PolicyRefused(
                f"The sum of as few as {offer.min_survivors} devices would be opened; this device takes part in sums "
                f"of {self.min_cohort} or more."
            )
        if offer.noise_source != "os" and not self.reproducible_noise:
            raise PolicyRefused("The noise grows from a seed, which this device does not take part with.")
        if offer.event is not None:
            self._check_spending(offer.event, ledger, now)

    def check_server(self, server: bytes, protocol: str, *, who: str = "device") -> None:
        """Raise PolicyRefused unless sums by this protocol may be made for this server. server: signing key, 32 bytes.
        who: answers, for the sentence.
        """
        key = server.hex()
        if not any(hmac.compare_digest(key, allowed) for allowed in self.servers):
            raise PolicyRefused(f"The server with the key {key[:16]}... is not one that this {who} answers.")
        if protocol not in self.protocols:
            raise PolicyRefused(
                f"This {who} takes part in sums by {', '.join(self.protocols)}, and this one is by {protocol}."
            )

    def _check_spending(self, event: Event, ledger: DeviceLedger, now: float) -> None:
        ever, today = ledger.events(), ledger.events(since=ledger.no_earlier(now) - DAY)
        for limit, count, events, what in (
            (self.max_epsilon, central_epsilon, ever, "the central epsilon of this device's whole life"),
            (self.max_epsilon_day, central_epsilon, today, "the central epsilon of 24 hours"),
            (self.max_local_epsilon, local_epsilon, ever, "the local epsilon of this device's whole life"),
        ):
            if not math.isfinite(limit):
                continue
            after = count((*events, event), delta=self.delta).epsilon
            if after > limit * ROUNDING:
                raise PolicyRefused(
                    f"With {event.label}, {what} would be {after:.3g}; its owner allows {limit:g} at a delta of "
                    f"{self.delta:g}."
                )
