"""A certificate authority of the tests, and a certificate for servers on this machine."""

import datetime
import ipaddress
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


class Certificates(NamedTuple):
    """Files, as PEM."""

    ca: Path
    certificate: Path
    key: Path


def certificates(directory):
    """Make a CA and, signed by it, a certificate for 127.0.0.1."""
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca = _certificate("The tests' CA", ca_key, "The tests' CA", ca_key, is_ca=True)
    certificate = _certificate("A server", key, "The tests' CA", ca_key, is_ca=False)
    files = Certificates(*(directory / name for name in ("ca.pem", "server.pem", "server.key")))
    files.ca.write_bytes(ca.public_bytes(Encoding.PEM))
    files.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


def _certificate(name, key, issuer, issuer_key, *, is_ca):
    now = datetime.datetime.now(datetime.UTC)
    addresses = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    return (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(_named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def _named(name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
