"""Secure sums of integer vectors over a cohort, as roles that exchange bytes.

    run = enrol("ckks", SumSpec(length=1000, max_clients=50, min_clients=10, value_bound=100), run_id=b"demo",
                client_ids=range(50))
    server_round = run.server().open_round(0, context=digest_of_the_table, min_survivors=10)
    opened = conduct(server_round, deliver)   # deliver(address, message) -> answer, or None for a party that is gone

where `deliver` hands messages to parties: a client's first to `client.join`, then, after `provide`, each to the
`ClientRound.answer` of what came back; a decryptor's to `Decryptor.answer`. Every protocol returns the integers that
a plain sum would give, or refuses with a `ProtocolError` that says why.
"""

from protocols.conduct import conduct
from protocols.enrolment import Enrolled, enrol
from protocols.errors import ProtocolError, RoundAborted
from protocols.identity import Address, EnrolmentKey, Identity, PublicIdentity
from protocols.local import LocalParties
from protocols.parties import check, client, decryptor, server
from protocols.registry import PROTOCOLS
from protocols.roles.client import Client, ClientRound
from protocols.roles.decryptor import Decryptor
from protocols.roles.server import OpenedSum, Server, ServerRound
from protocols.roster import Roster
from protocols.setup import Setup
from protocols.spec import SumSpec

__all__ = [
    "PROTOCOLS",
    "Address",
    "Client",
    "ClientRound",
    "Decryptor",
    "EnrolmentKey",
    "Enrolled",
    "Identity",
    "LocalParties",
    "OpenedSum",
    "ProtocolError",
    "PublicIdentity",
    "Roster",
    "RoundAborted",
    "Server",
    "ServerRound",
    "Setup",
    "SumSpec",
    "check",
    "client",
    "conduct",
    "decryptor",
    "enrol",
    "server",
]
