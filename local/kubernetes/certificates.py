"""The certificates of one control plane: its authority, its server, and its clients."""

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class KeyPair:
    """The files of a certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates and writes them to a directory that only this user can read.

    They are valid from the year 2000 to 3000: a clock may be stepped.

    Args:
        directory: Where the files go; it is made.

    Attributes:
        certificate: The authority's own certificate, which servers and clients trust.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._authority = trustme.CA(organization_name="berth local authority")
        self.certificate = directory / "ca.crt"
        self._authority.cert_pem.write_to_path(self.certificate)

    def server(self) -> KeyPair:
        """Sign a server certificate for localhost."""
        return self._write("server", self._authority.issue_cert("localhost", "127.0.0.1"))

    def wildcard(self, domain: str) -> KeyPair:
        """Sign a server certificate for all hosts right under a domain."""
        return self._write("wildcard", self._authority.issue_cert(f"*.{domain}"))

    def client(self, user: str, group: str = "") -> KeyPair:
        """Sign a client certificate: Kubernetes takes the user from its name and the group from its organisation.

        Args:
            user: The user's name; it names the files too.
            group: The user's group; without one the user gets a group that no role is bound to.
        """
        # Go refuses a certificate without an alternative name. An address is one that no server can have.
        signed = self._authority.issue_cert(
            "client@localhost", common_name=user, organization_name=group or "berth local clients"
        )
        return self._write(user.replace(":", "-"), signed)

    def service_account_key(self) -> Path:
        """Make the key that signs service account tokens."""
        path = self._directory / "service-accounts.key"
        self._authority.issue_cert(common_name="service-accounts").private_key_pem.write_to_path(path)
        return path

    def _write(self, name: str, signed: trustme.LeafCert) -> KeyPair:
        pair = KeyPair(self._directory / f"{name}.crt", self._directory / f"{name}.key")
        signed.cert_chain_pems[0].write_to_path(pair.certificate)
        signed.private_key_pem.write_to_path(pair.key)
        return pair
