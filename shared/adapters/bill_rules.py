"""What an operator says about the resources in the bill, as a YAML document."""

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.adapters.strict_yaml import StrictLoader
from shared.domain.bill_matching import BillRules
from shared.domain.slugs import LABEL
from shared.errors import Invalid

Group = Annotated[str, Field(pattern=r"^[\w().-]{1,90}$")]
Slug = Annotated[str, Field(pattern=f"^{LABEL}$")]
ResourceId = Annotated[str, Field(pattern="^/subscriptions/[^/]+/.*[^/]$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Tenant(_Part):
    resource_groups: list[Group] = []
    resources: list[ResourceId] = []


class _Document(_Part):
    node_resource_groups: list[Group] = []
    resource_groups: list[Group] = []
    tenants: dict[Slug, _Tenant] = {}


def load_bill_rules(path: Path) -> BillRules:
    """Return the rules of a document; raises Invalid with everything that is wrong in it."""
    try:
        content: Any = yaml.load(path.read_text(encoding="utf-8"), StrictLoader)  # noqa: S506 - a safe loader
        read = _Document.model_validate(content or {})
    except ValidationError as error:
        wrong = [(".".join(map(str, each["loc"])), each["msg"]) for each in error.errors(include_url=False)]
        raise Invalid(*((f"{path.name}: {place}", text) for place, text in wrong)) from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise Invalid((path.name, str(error))) from error
    groups = [(group.lower(), slug) for slug, tenant in read.tenants.items() for group in tenant.resource_groups]
    resources = [(each.lower(), slug) for slug, tenant in read.tenants.items() for each in tenant.resources]
    for names in (groups, resources):
        twice = sorted({name for name, slug in names if (name, slug) != (name, dict(names)[name])})
        if twice:
            raise Invalid((path.name, f"{', '.join(twice)} is of several tenants"))
    return BillRules(
        node_groups=frozenset(map(str.lower, read.node_resource_groups)),
        own_groups=frozenset(map(str.lower, read.resource_groups)),
        tenant_groups=dict(groups),
        tenant_resources=dict(resources),
    )
