"""TLS certificates of a federation and the keys with which its nodes sign their requests, from `cryptography`."""

import datetime
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from securerec.errors import RunError

CA_DAYS, SERVER_DAYS = 3650, 825
"""How long a certificate is good for; 825 days is the most that common TLS clients accept of a server's."""

_EARLIER = datetime.timedelta(minutes=5)
"""Clocks differ a little."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


def new_node_key() -> ec.EllipticCurvePrivateKey:
    """A fresh key on P-384, the curve that Flower's node authentication uses."""
    return ec.generate_private_key(ec.SECP384R1())


def key_to_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """PKCS #8, not encrypted: the file's mode protects it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def key_from_pem(pem: bytes, *, what: str) -> ec.EllipticCurvePrivateKey:
    """Inverse of `key_to_pem`. what: the file, for the message. Raises RunError; it shows nothing of the bytes."""
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError):
        raise RunError(f"{what} is no private key in PEM") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP384R1):
        raise RunError(f"{what} is no key on the curve P-384")
    return key


def public_to_hex(key: ec.EllipticCurvePrivateKey) -> str:
    """The public part, as a point in SEC 1's compressed form."""
    encoding, form = serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
    return key.public_key().public_bytes(encoding, form).hex()


def public_from_hex(text: str) -> ec.EllipticCurvePublicKey:
    """Inverse of `public_to_hex`. Raises RunError."""
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), bytes.fromhex(text))
    except ValueError:
        raise RunError("a node's public key is no point on P-384") from None


def new_authority(name: str) -> Signed:
    """A certificate authority of this federation alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        _dated(subject, subject, key.public_key(), CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )
    return Signed(_pem(builder.sign(key, hashes.SHA256())), key_to_pem(key))


def new_server_certificate(authority: Signed, hosts: Iterable[str]) -> Signed:
    """A server's certificate for these names and addresses, signed by the authority. Raises RunError for none."""
    names = [_name(host) for host in hosts]
    if not names:
        raise RunError("a server's certificate needs a host name or an address")
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    signer = serialization.load_pem_private_key(authority.key, None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise RunError("the authority's key is not of this program's making")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "SuperLink")])
    builder = (
        _dated(subject, issuer.subject, key.public_key(), SERVER_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
            critical=False,
        )
    )
    return Signed(_pem(builder.sign(signer, hashes.SHA256())), key_to_pem(key))


def _dated(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
