"""The ``ssl.SSLContext`` of ``asynchat-fast-http``: from files, or with a self-signed certificate for trials."""

import contextlib
import os
import socket
import ssl
import tempfile
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address

__all__ = ["NoContext", "from_files", "self_signed"]

_DAYS = 30  # for which a self-signed certificate is valid


class NoContext(Exception):
    """A context could not be made; the message says why, and what to do."""


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION  # by renegotiations, a client of TLS 1.2 could keep the server busy
    context.set_alpn_protocols(["http/1.1"])
    return context


def _no_password() -> str:
    raise NoContext("the key is protected by a password; take one that is not: openssl pkey -in KEY -out NEW")


def from_files(certificate: str, key: str | None) -> ssl.SSLContext:
    """Return a context with the certificate and the key in two PEM files, or in one; NoContext if that fails."""
    for path in (certificate, key):
        if path is not None and not os.path.isfile(path):
            raise NoContext(f"{path!r} is not a file")
    context = _context()
    try:
        context.load_cert_chain(certificate, key, _no_password)
    except (OSError, ValueError) as error:  # ssl.SSLError among them
        reason = getattr(error, "reason", None) or str(error)
        where = repr(certificate) if key is None else f"{certificate!r} and {key!r}"
        if reason == "KEY_VALUES_MISMATCH":
            raise NoContext(f"the certificate in {certificate!r} is not for the key") from None
        raise NoContext(f"no certificate with its key, in PEM, can be read from {where}: {reason}") from None
    return context


def self_signed() -> ssl.SSLContext:
    """Return a context with a certificate for the names of this machine, made now; NoContext without cryptography."""
    try:
        certificate_and_key = _make_certificate()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "cryptography":
            raise
        raise NoContext("making a certificate takes cryptography: pip install cryptography") from None
    context = _context()
    descriptor, path = tempfile.mkstemp(suffix=".pem")  # readable by this user only; ssl reads files only
    try:
        with open(descriptor, "wb") as file:
            file.write(certificate_and_key)
        context.load_cert_chain(path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)
    return context


def _make_certificate() -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "asynchat-fast-http, for trying")])
    hosts = {"localhost", socket.gethostname()} - {""}
    names = [x509.DNSName(host) for host in sorted(hosts) if host.isascii()]
    names += [x509.IPAddress(ip_address(address)) for address in ("127.0.0.1", "::1")]
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key_bytes = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return bytes(certificate.public_bytes(pem) + key_bytes)
