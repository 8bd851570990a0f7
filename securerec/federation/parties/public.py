"""What everybody in a federation knows: settings, the catalogue, and for which sums who is enrolled."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from protocols.errors import ProtocolError
from protocols.setup import Setup
from securerec.config import Config
from securerec.data.interactions import Interactions
from securerec.errors import ConfigError, RunError
from securerec.federation.promise import Promise, make_promises, planned
from securerec.federation.warm_start import WarmStart, cold_start
from securerec.models.head import PublicFeatures


@dataclass(frozen=True, slots=True, eq=False)
class Federation:
    """config: resolved. features: of the items, (n_items, d). run_id: 16 bytes. initial_values: seed of the first item
    table. cohort: clients, numbered from 0. enrolment: the pinned public key, 32 bytes. setups: by kind of release, as
    bytes. test_mode: everything grows from the configuration's seed, noise too, so that nothing is protected.
    """

    config: Config
    features: PublicFeatures
    run_id: bytes
    initial_values: bytes
    cohort: int
    enrolment: bytes
    setups: Mapping[str, bytes] = field(repr=False)
    test_mode: bool = False

    @property
    def n_items(self) -> int:
        return len(self.features.values)

    @property
    def rounds(self) -> int:
        return self.config.training.rounds or 0

    def promises(self) -> dict[str, Promise]:
        """What is promised for each kind of release, by its name, in the order in which they come.

        Raises ConfigError or PrivacyError where there is no such promise.
        """
        source = "seed" if self.test_mode else "os"
        return make_promises(
            self.config.privacy, planned(self.config, self.n_items), cohort=self.cohort, noise_source=source
        )

    def check(self) -> dict[str, Promise]:
        """The promises, after a look at whether the setups are for them.

        Raises ConfigError for settings that no federation has, RunError for a setup of another sum.
        """
        config = self.config
        if config.privacy.unit != "user":
            raise ConfigError("privacy.unit interaction is for runs in one place: take unit user")
        if config.evaluation.keep == "best":
            raise ConfigError("nobody in a federation sees everybody's validation: take evaluation.keep last")
        promises = self.promises()
        for name, promise in promises.items():
            if name not in self.setups:
                raise RunError(f"there is no setup for the release {name}: enrol the federation again")
            try:
                setup = Setup.from_bytes(self.setups[name])
            except ProtocolError as error:
                raise RunError(f"the setup for the release {name} cannot be read: {error}") from None
            if setup.protocol != config.protocol.protocol or setup.spec != promise.spec(self.cohort):
                raise RunError(f"the setup for the release {name} is of another sum: enrol the federation again")
        return promises

    def cold(self, train: Interactions) -> WarmStart:
        """Where devices with these lists start when nothing is released. Each draws more than its own; the item table
        is everybody's.
        """
        return cold_start(self.config.training.learner(), train, self.rng())

    def rng(self) -> np.random.Generator:
        """Of the initial values."""
        return np.random.default_rng(int.from_bytes(self.initial_values, "big"))
