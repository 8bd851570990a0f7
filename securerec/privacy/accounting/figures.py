"""From events to the figures that are reported: whose privacy, against whom, at what delta, counted how.

Four figures, never mixed. **Central**: against whoever sees only the sums and what follows from them, the server
among them; one user's vector is replaced by zero (the client still sends its noise); the noise of `min_survivors`
honest clients counts, more only adds to it. **Local**: against whoever opens one client's uploads; any input for any
other, so up to twice the sensitivity; that client's own noise alone counts, and it is taken to be in every sum.
**Model only**: as central, against those who see no more than the released model and never learn who took part; here,
and nowhere else, sampling counts. **Interaction**: against whoever sees the sums or what DP-SGD on a device released;
one interaction of one user is there or not.

No figure of one unit says anything of the other: DP-SGD on interactions leaves the user figures infinite, and a user's
sums enter the interaction figure as what they are at least, any vector for any other.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from securerec.privacy.accounting.accountants import DEFAULT, count
from securerec.privacy.accounting.losses import Cost, Loss, Pure, Sampled, Skellam
from securerec.privacy.accounting.shuffle import shuffled_epsilon
from securerec.privacy.events import (
    DistributedGaussianSum,
    DistributedLaplaceSum,
    DistributedSkellamSum,
    Event,
    GaussianSum,
    InteractionSgd,
    SampledSum,
    ShuffledReports,
)

ZERO_OUT = "one user's vector replaced by zero"
REPLACE = "one client's input replaced by any other"
INTERACTION = "one interaction of one user there or not"
SUMS, UPLOADS = "whoever sees the sums", "whoever opens one client's uploads"
RELEASES = "whoever sees the sums, or what DP-SGD on a device released"
MODEL = "whoever sees the released model and not who took part"

Losses = list[tuple[Loss, int]]
Reading = Callable[[Event, float], Losses | None]


@dataclass(frozen=True)
class Epsilon:
    """A privacy guarantee, with all that a reader needs to know to compare it.

    epsilon: nats, infinite when anything left unprotected. accountant: the one that really counted. against: who is
    kept from telling neighbours apart. min_survivors: the fewest honest clients that any sum's noise was sized for
    (None for the local one). reproducible_noise: some noise grew from a seed: simulation only.
    """

    epsilon: float
    delta: float
    relation: str
    accountant: str
    against: str
    min_survivors: int | None
    reproducible_noise: bool
    unit: str = "user"

    def __float__(self) -> float:
        return self.epsilon


def central_epsilon(events: Iterable[Event], *, delta: float, accountant: str = DEFAULT) -> Epsilon:
    """Epsilon of all events against whoever sees sums only. Raises PrivacyError for a bad delta or accountant, and for
    events that the accountant cannot count."""
    return _report(tuple(events), central_losses, delta, accountant, ZERO_OUT, SUMS)


def local_epsilon(events: Iterable[Event], *, delta: float, accountant: str = DEFAULT) -> Epsilon:
    """Epsilon of all events against whoever opens one client's uploads. Raises as `central_epsilon`."""
    return _report(tuple(events), local_losses, delta, accountant, REPLACE, UPLOADS)


def model_epsilon(events: Iterable[Event], *, delta: float, accountant: str = DEFAULT) -> Epsilon:
    """Epsilon of all events against whoever sees the model alone. Raises as `central_epsilon`."""
    return _report(tuple(events), model_losses, delta, accountant, ZERO_OUT, MODEL)


def interaction_epsilon(events: Iterable[Event], *, delta: float, accountant: str = DEFAULT) -> Epsilon:
    """Epsilon of one interaction, all events counted. Raises as `central_epsilon`."""
    return _report(tuple(events), interaction_losses, delta, accountant, INTERACTION, RELEASES, unit="interaction")


def central_losses(event: Event, delta: float) -> Losses | None:
    """What an event costs centrally; None where nothing finite holds. delta: what a shuffle may use of it."""
    match event:
        case DistributedGaussianSum():
            return [(_central_cost(event), 1)]
        case DistributedSkellamSum():
            variance = event.client_variance * event.min_survivors
            return [(Skellam(event.sensitivity, event.sensitivity_l1, variance), 1)]
        case DistributedLaplaceSum():
            return _laplace_losses(event, event.sensitivity)
        case GaussianSum():
            return [(Cost(event.noise_multiplier), 1)]
        case SampledSum():
            return _repeated(central_losses(event.inner, delta), event.count)
        case ShuffledReports():
            epsilon, used = shuffled_epsilon(event.local_epsilon, event.local_delta, event.reports, delta=delta)
            return [(Pure(epsilon, used), 1)]
    return None


def local_losses(event: Event, delta: float) -> Losses | None:
    """What an event costs locally; None where nothing finite holds."""
    match event:
        case DistributedGaussianSum():
            cost = Cost.local(
                sensitivity=event.sensitivity, client_sigma=event.client_sigma,
                nonnegative=event.nonnegative, dimension=event.dimension,
            )  # fmt: skip
            return [(cost, 1)]
        case DistributedSkellamSum():
            return [(Skellam(_apart(event), 2 * event.sensitivity_l1, event.client_variance), 1)]
        case DistributedLaplaceSum():
            return [(Pure(2 * event.sensitivity / event.client_scale), 1)]
        case SampledSum():
            return _repeated(local_losses(event.inner, delta), event.count)
        case ShuffledReports():
            return [(Pure(event.local_epsilon, event.local_delta), 1)]
    return None


def model_losses(event: Event, delta: float) -> Losses | None:
    """What an event costs against those who see the model alone."""
    if isinstance(event, SampledSum):
        cost = (
            Cost(event.inner.noise_multiplier) if isinstance(event.inner, GaussianSum) else _central_cost(event.inner)
        )
        return [(Sampled(cost, event.sampling, event.sample_rate), event.count)]
    return central_losses(event, delta)


def interaction_losses(event: Event, delta: float) -> Losses | None:
    """What an event costs one interaction. A sum's vector may move by as much as any two vectors are apart."""
    match event:
        case InteractionSgd():
            return [(Sampled(Cost(event.noise_multiplier), "poisson", event.sample_rate), event.steps)]
        case DistributedGaussianSum():
            return [(_central_cost(event, _apart(event)), 1)]
        case DistributedSkellamSum():
            variance = event.client_variance * event.min_survivors
            return [(Skellam(_apart(event), 2 * event.sensitivity_l1, variance), 1)]
        case DistributedLaplaceSum():
            return _laplace_losses(event, 2 * event.sensitivity)
        case GaussianSum():
            return [(Cost(event.noise_multiplier / 2), 1)]
        case SampledSum():
            return _repeated(interaction_losses(event.inner, delta), event.count)
    return central_losses(event, delta)


def _central_cost(event: DistributedGaussianSum, sensitivity: float | None = None) -> Cost:
    return Cost.central(
        sensitivity=event.sensitivity if sensitivity is None else sensitivity,
        client_sigma=event.client_sigma, min_survivors=event.min_survivors, dimension=event.dimension,
    )  # fmt: skip


def _apart(event: DistributedGaussianSum | DistributedSkellamSum) -> float:
    """The largest L2 distance of two vectors of this event: without negative coordinates their product is positive."""
    return (math.sqrt(2) if event.nonnegative else 2) * event.sensitivity


def _laplace_losses(event: DistributedLaplaceSum, shift: float) -> Losses:
    """A sum whose whole vector moves by at most `shift` in L1, against min_survivors clients' discrete Laplace noise.

    Give each unit of the shift to one client, to all of them as evenly as whole units allow. The sum moves as it should
    when each client's noise moves by its own share, and seeing all clients' noise instead of its sum only tells more.
    So the loss is at most that of independent shares, k / client_scale for k units, pure each. Added up they are
    shift / client_scale, what one client's noise gives alone; but many small pure losses compose to less than their
    sum, about as Gaussian noise does.
    """
    if shift >= 2**53:
        return [(Pure(shift / event.client_scale), 1)]
    units, clients = math.floor(shift), event.min_survivors
    share, more = divmod(units, clients)
    shares = [(share + 1, more), (share, clients - more)]
    return [(Pure(k / event.client_scale), n) for k, n in shares if k and n]


def _repeated(losses: Losses | None, times: int) -> Losses | None:
    return None if losses is None else [(loss, n * times) for loss, n in losses]


def total_losses(events: Iterable[Event], losses_of: Reading, delta: float) -> Counter[Loss] | None:
    """All events' losses, or None where some event has no finite one. Shuffles share half of delta; one that is alone
    has (but for a billionth) all of it."""
    events = tuple(events)
    shuffles = sum(isinstance(event, ShuffledReports) for event in events)
    share = delta * (1 - 1e-9) if shuffles == len(events) == 1 else delta / 2 / max(1, shuffles)
    total: Counter[Loss] = Counter()
    for event in events:
        losses = losses_of(event, share)
        if losses is None:
            return None
        for loss, n in losses:
            total[loss] += n
    return total


def _report(
    events: tuple[Event, ...],
    losses_of: Reading,
    delta: float,
    accountant: str,
    relation: str,
    against: str,
    unit: str = "user",
) -> Epsilon:
    counted = count({}, delta=delta, accountant=accountant)  # refuses what cannot be used, whatever the events
    losses = total_losses(events, losses_of, delta)
    epsilon = math.inf
    if losses is not None:
        counted = count(losses, delta=delta, accountant=accountant)
        epsilon = counted.epsilon
    local = losses_of is local_losses
    return Epsilon(
        epsilon=epsilon,
        delta=delta,
        relation=relation,
        accountant=counted.accountant,
        against=against,
        min_survivors=None if local else min((n for n in map(_survivors, events) if n is not None), default=None),
        reproducible_noise=any(getattr(event, "noise_source", "os") == "seed" for event in events),
        unit=unit,
    )


def _survivors(event: Event) -> int | None:
    inner = event.inner if isinstance(event, SampledSum) else event
    return getattr(inner, "min_survivors", None)
