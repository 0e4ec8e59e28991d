"""Whether identities have the roles that they need, on just what they need them for."""

from collections.abc import Iterable, Sequence

from cli.deploy.deployment import RoleAssignment
from cli.doctor.check import Check, State


def check_roles(part: str, needed: Sequence[RoleAssignment], assigned: Iterable[RoleAssignment]) -> Iterable[Check]:
    """Yield which roles are missing or reach further than needed, or that all is well.

    A role that is inherited from a wider scope works, but lets its identity do more than it has to.

    Args:
        part: Whose roles they are.
        needed: The roles as infra/*.bicep assigns them.
        assigned: All roles of these identities.
    """
    held = list(assigned)
    reaching = {each: [other for other in held if _reaches(other, each)] for each in needed}
    missing = [_named(each) for each, found in reaching.items() if not found]
    if missing:
        yield Check(part, State.MISSING, f"not assigned: {', '.join(missing)}. Run azd provision --no-state")
    wider = [other for each, found in reaching.items() for other in found if _path(other) != _path(each)]
    for each in dict.fromkeys(wider):
        text = f"{_named(each, whole=True)} is wider than needed: run azd provision --no-state, then remove it"
        yield Check(part, State.WARNS, text)
    if not (missing or wider):
        yield Check(part, State.OK)


def _reaches(assigned: RoleAssignment, needed: RoleAssignment) -> bool:
    """Whether an assignment gives what is needed, because its scope is that, or has it within."""
    if (assigned.principal_id.lower(), assigned.role) != (needed.principal_id.lower(), needed.role):
        return False
    # Of management groups, Azure lists only those that the subscription is in.
    is_above = _path(assigned).startswith("/providers/microsoft.management/managementgroups/")
    return is_above or f"{_path(needed)}/".startswith(f"{_path(assigned)}/")


def _path(assignment: RoleAssignment) -> str:
    return assignment.scope.rstrip("/").lower()  # Azure compares ids without their case


def _named(assignment: RoleAssignment, *, whole: bool = False) -> str:
    scope = assignment.scope if whole else assignment.scope.rpartition("/")[2]
    return f"{assignment.role} on {scope} (identity {assignment.principal_id})"
