"""The parties of a federation's folder, in one process."""

from functools import partial

from securerec.deploy.layout import Layout, read_identity
from securerec.deploy.metrics import Metrics
from securerec.deploy.roles import make_party
from securerec.deploy.watching import observer, teller
from securerec.device.policy import Policy
from securerec.federation.parties.attempt import Deadlines
from securerec.federation.parties.exchange import LocalExchange
from securerec.federation.parties.server import ServerRun

SOON = Deadlines(first=60, later=60, settle=0.0, gather=0.0)


def run_of(layout: Layout, metrics: Metrics) -> ServerRun:
    public = layout.open_public()
    starts = {
        folder.name: partial(make_party, folder, public, Policy.read(folder / "policy.toml"))
        for folder in (*layout.nodes(), *layout.decryptors())
    }
    return ServerRun(
        layout.server / "run", public.federation(), read_identity(layout.server / "identity.key"),
        LocalExchange(starts), deadlines=SOON, observe=observer(metrics), tell=teller(metrics),
    )  # fmt: skip
