"""The local control plane's certificates hold under the strict checks of Python, and Kubernetes can read them."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from local.kubernetes.certificates import Authority, KeyPair

DAY = timedelta(days=1)


def context(purpose: ssl.Purpose, authority: Authority, own: KeyPair) -> ssl.SSLContext:
    held = ssl.create_default_context(purpose, cafile=str(authority.certificate))
    held.load_cert_chain(own.certificate, own.key)
    held.verify_mode = ssl.CERT_REQUIRED
    assert held.verify_flags & ssl.VERIFY_X509_STRICT
    return held


def shake_hands(authority: Authority, client: KeyPair, name: str) -> ssl.SSLObject:
    """Return the server's side of a connection that both sides accepted."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context(ssl.Purpose.CLIENT_AUTH, authority, authority.server()).wrap_bio(
        to_server, to_client, server_side=True
    )
    caller = context(ssl.Purpose.SERVER_AUTH, authority, client).wrap_bio(to_client, to_server, server_hostname=name)
    waiting = [caller, server]
    for _ in range(10):
        for side in list(waiting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(side)
    assert not waiting
    return server


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_both_sides_accept_each_other_strictly(tmp_path: Path, name: str) -> None:
    authority = Authority(tmp_path)
    server = shake_hands(authority, authority.client("system:kube-proxy", "system:masters"), name)
    certificate = server.getpeercert()
    assert certificate is not None
    names = cast("tuple[tuple[tuple[str, str], ...], ...]", certificate["subject"])
    subject = dict(pair for group in names for pair in group)
    assert (subject["commonName"], subject["organizationName"]) == ("system:kube-proxy", "system:masters")
    now = datetime.now(UTC).timestamp()
    assert ssl.cert_time_to_seconds(str(certificate["notBefore"])) < now - DAY.total_seconds()
    assert ssl.cert_time_to_seconds(str(certificate["notAfter"])) > now + DAY.total_seconds()


def test_a_client_cannot_pose_as_the_server(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    client = authority.client("berth")
    certificate = shake_hands(authority, client, "localhost").getpeercert()
    assert certificate is not None
    assert certificate["subjectAltName"] == (("email", "client@localhost"),)


def test_only_this_user_reads_the_keys(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    assert (tmp_path / "pki").stat().st_mode & 0o077 == 0
    assert "PRIVATE KEY" in authority.service_account_key().read_text()
