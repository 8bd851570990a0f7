"""New keys for parties of a federation that stands, signed by the enrolment key; nothing else of it changes.

Whoever holds the old `public/` goes on understanding nobody who has the new one, so it is handed to everybody anew.
A rotation that was interrupted is made whole by running it again.
"""

import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from cryptography import x509

from protocols.identity import Identity, PublicIdentity
from protocols.setup import Setup
from securerec.deploy.certificates import Signed, key_to_pem, new_node_key, new_server_certificate, public_to_hex
from securerec.deploy.enrol import make_public, new_operator, write_tls
from securerec.deploy.layout import (
    Layout,
    node_identities,
    read_enrolment_key,
    read_identity,
    read_secret,
    setup_place,
    write_secret,
)
from securerec.deploy.processes import names_of, processes
from securerec.device.policy import Policy
from securerec.errors import ConfigError, RunError
from securerec.federation.parties.member import begin_records

TLS, OPERATOR = "tls", "operator"


def rotate(layout: Layout, names: Collection[str]) -> None:
    """Give each new keys. names: of parties' folders, "server", "tls" (the SuperLink's certificate), "operator".

    A party's identities and its node key are replaced, and then all setups, which hold the roster; with the server's
    identity every policy that named the old one. Raises ConfigError for a name that nobody has, RunError while
    processes run or where keys are missing.
    """
    parties = [name for name in names_of(layout) if name not in ("superlink",)]
    known = [*parties, TLS, OPERATOR]
    if unknown := sorted(set(names) - set(known)):
        raise ConfigError(f"there is no {unknown[0]!r} to rotate: there are {', '.join(known)}")
    if any(process.number is not None for process in processes(layout)):
        raise RunError(f"processes run: `securerec deploy down {layout.path}` first")
    if TLS in names:
        _rotate_tls(layout)
    if OPERATOR in names:
        new_operator(layout)
    if chosen := [name for name in parties if name in names]:
        _rotate_parties(layout, chosen)


def _rotate_tls(layout: Layout) -> None:
    """For the same names, by the same authority."""
    old = x509.load_pem_x509_certificate((layout.superlink / "tls.crt").read_bytes())
    hosts = [str(each.value) for each in old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value]
    authority = Signed((layout.public / "ca.crt").read_bytes(), read_secret(layout.enrolment / "ca.key"))
    write_tls(layout, new_server_certificate(authority, hosts))


def _rotate_parties(layout: Layout, names: Collection[str]) -> None:
    public, enrolment = layout.open_public(), read_enrolment_key(layout.enrolment / "enrolment.key")
    federation = public.federation()
    setups = {name: Setup.from_bytes(data) for name, data in federation.setups.items()}
    roster = next(iter(setups.values())).verify(public.enrolment)
    fresh: dict[PublicIdentity, Identity] = {}
    places: dict[Path, Identity] = {}
    described = json.loads(public.read("nodes.json"))
    node_keys = {}
    for name in names:
        folder = layout.path / name
        if (folder / "identities").is_dir():
            old = {folder / "identities" / f"{n}.key": each for n, each in node_identities(folder).items()}
        else:
            old = {folder / "identity.key": read_identity(folder / "identity.key")}
        for path, identity in old.items():
            listed = roster.of(*identity.address)
            if listed is None:
                raise RunError(f"the roster does not name {identity.address}: restore {path}")
            fresh[listed] = places[path] = Identity.generate(*identity.address)
        if name in described:
            node_keys[folder / "node.key"] = key = new_node_key()
            described[name]["key"] = public_to_hex(key)

    def newest(listed: tuple[PublicIdentity, ...]) -> tuple[PublicIdentity, ...]:
        return tuple(fresh[each].public if each in fresh else each for each in listed)

    signed = replace(
        roster, server=newest((roster.server,))[0], clients=newest(roster.clients), decryptors=newest(roster.decryptors)
    ).sign(enrolment)
    new = {name: replace(setup, roster=signed).signed(enrolment).to_bytes() for name, setup in setups.items()}
    files = {place: public.read(place) for place in public.start.digests}
    files |= {setup_place(name): setup for name, setup in new.items()}
    files["nodes.json"] = (json.dumps(described, indent=1) + "\n").encode()
    for path, identity in places.items():
        write_secret(path, identity.to_bytes())
    for path in places:
        if path.parent in layout.decryptors():
            # no box was ever sealed to a new identity, so it has answered nothing
            (path.parent / "answered").mkdir(mode=0o700, exist_ok=True)
            begin_records(path.parent / "answered", federation.setups)
    for path, key in node_keys.items():
        write_secret(path, key_to_pem(key))
    committee = (public.start.members, public.start.threshold)
    make_public(layout.public, enrolment, replace(federation, setups=new), files, committee)
    if "server" in names:
        server = places[layout.server / "identity.key"].public.signing.hex()
        for folder in (*layout.nodes(), *layout.decryptors()):
            path, decryptor = folder / "policy.toml", folder in layout.decryptors()
            replace(Policy.read(path, decryptor=decryptor), servers=(server,)).write(path, decryptor=decryptor)
