"""Which addresses are API servers of AKS: berth's Entra token is good for the whole fleet, so it goes nowhere else."""

import re

from shared.errors import WrongRegistration

# So narrow that no two parsers can read another host in it: no user, no path, no escape, no dot at the end.
_LABEL = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_ADDRESS = re.compile(rf"https://({_LABEL}(?:\.{_LABEL})*)(?::[0-9]{{1,5}})?")


def ensure_aks(server: str, domains: str) -> None:
    """Return if a server's address is in one of the domains, which commas separate; raises WrongRegistration."""
    found = _ADDRESS.fullmatch(server)
    if found is None or not any(f".{found[1]}".endswith(f".{domain}") for domain in domains.split(",")):
        raise WrongRegistration(
            "the server is not an API server of AKS: give an https address, in lower case, in one of the domains "
            f"{domains.replace(',', ', ')} (BERTH_KUBERNETES_AKS_DOMAINS)"
        )
