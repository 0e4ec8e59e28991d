"""What Azure says of a deployment, by the Azure CLI."""

from collections.abc import Sequence

from cli.deploy.azure import Azure
from cli.deploy.commands import CommandError
from cli.deploy.deployment import Deployment
from cli.deploy.run import UNTRUSTED
from cli.deploy.waiting import NotYetError
from cli.doctor.check import Check, State
from cli.doctor.roles import check_roles

RECENT_MINUTES = 30  # the app's timers run every minute, and telemetry needs some to arrive


async def check_azure(azure: Azure, found: Deployment) -> Sequence[Check]:
    """Return what Azure says of all identities' roles, of the app's secrets and telemetry, and of certificates."""
    checks: list[Check] = []
    for part, look in (
        ("roles", _roles(azure, found)),
        ("secrets", _secrets(azure)),
        ("telemetry", _telemetry(azure)),
        ("certificates", _certificates(azure, found)),
    ):
        try:
            checks += await look
        except NotYetError as error:
            checks.append(Check(part, State.WAITS, str(error)))
        except CommandError as error:
            checks.append(Check(part, State.MISSING, str(error)))
    return checks


async def _roles(azure: Azure, found: Deployment) -> Sequence[Check]:
    checks: list[Check] = []
    needed = {f"cluster {each.name}: roles": each.role_assignments for each in found.clusters}
    for part, wanted in {"app: roles": found.app_role_assignments, **needed}.items():
        assigned = [role for each in {each.principal_id for each in wanted} for role in await azure.roles_of(each)]
        checks += check_roles(part, wanted, assigned)
    return checks


async def _secrets(azure: Azure) -> Sequence[Check]:
    states = await azure.secret_states()
    wrong = [f"{name} ({state})" for name, state in states.items() if state != "Resolved"]
    if wrong:
        text = (
            f"the app cannot read {', '.join(wrong)} yet: ./berth deploy cluster makes what is missing, and refreshes"
        )
        return [Check("secrets", State.WAITS, text)]
    return [Check("secrets", State.OK)]


async def _telemetry(azure: Azure) -> Sequence[Check]:
    if await azure.recent_requests(RECENT_MINUTES):
        return [Check("telemetry", State.OK)]
    text = (
        f"Application Insights has received no request for {RECENT_MINUTES} minutes: it shows them after some minutes"
    )
    return [Check("telemetry", State.WAITS, text)]


async def _certificates(azure: Azure, found: Deployment) -> Sequence[Check]:
    checks: list[Check] = []
    for cluster in found.clusters:
        part, issuer = f"cluster {cluster.name}: certificate", await azure.certificate_issuer(cluster)
        if issuer is None:
            checks.append(Check(part, State.MISSING, f"{cluster.certificate_vault} has none: import one"))
        elif issuer == "Self":
            checks.append(Check(part, State.WARNS, UNTRUSTED))
        else:
            checks.append(Check(part, State.OK))
    return checks
