"""The plans, from the document shared/plans.yaml, which operators edit.

Its defaults are from other systems: hibernation after 7 idle days (Supabase pauses free projects after 7), and after 14
for a tenant that was never active, half of a trial of 30 days (Octopus Cloud's).
"""

from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.adapters.strict_yaml import StrictLoader
from shared.domain.plans import Plan, Plans
from shared.domain.policy import DormancyPolicy

FILE = Path(__file__).parents[1] / "plans.yaml"
_UNITS = {"m": 0.001, "": 1, "Mi": 2**20, "Gi": 2**30}


class PlansError(Exception):
    """The document of plans is wrong; the message lists everything that is."""


Days = Annotated[int, Field(ge=1, le=3650)]
Name = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$")]
Cpu = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,5}m?$")]
Memory = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,5}[MG]i$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)


class _Dormancy(_Part):
    idle_days: Days = 7
    never_active_days: Days = 14
    exempt: bool = False


class _Plan(_Part):
    cpu_request: Cpu
    cpu_limit: Cpu
    memory_request: Memory
    memory_limit: Memory
    ephemeral_storage: Memory
    scratch: Memory
    volume: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,4}Gi$")]
    storage_class: Annotated[str, Field(pattern=r"^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$")] = ""
    priority: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
    weight: Annotated[int, Field(ge=1, le=100_000)]
    saves: Annotated[float, Field(ge=0, le=1_000_000)] = 0.0
    dormancy: _Dormancy = _Dormancy()
    budget: Annotated[float, Field(ge=0, le=1_000_000)] = 0.0

    @model_validator(mode="after")
    def _limits_cover_requests(self) -> Self:
        for request, limit in ((self.cpu_request, self.cpu_limit), (self.memory_request, self.memory_limit)):
            if _number(request) > _number(limit):
                raise ValueError(f"the request {request} is larger than the limit {limit}")
        if _number(self.scratch) > _number(self.ephemeral_storage):
            raise ValueError(f"scratch, {self.scratch}, is larger than ephemeral_storage, {self.ephemeral_storage}")
        return self


class _Document(_Part):
    plans: Annotated[dict[Name, _Plan], Field(min_length=1)]


def load_plans(path: Path = FILE) -> Plans:
    """Return all plans of a document, in its order.

    Raises:
        PlansError: It cannot be read, or something in it is missing, out of range, or has a name that nothing has.
    """
    try:
        document: Any = yaml.load(path.read_text(encoding="utf-8"), StrictLoader)  # noqa: S506 - a safe loader
        read = _Document.model_validate(document)
    except ValidationError as error:
        # Of a plan's name, pydantic's location ends with [key].
        wrong = [f"  {'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors(include_url=False)]
    except (OSError, ValueError, yaml.YAMLError) as error:
        wrong = [f"  {error}"]
    else:
        return {name: _plan(name, plan) for name, plan in read.plans.items()}
    raise PlansError("\n".join([f"the document of plans, {path.name}, is wrong:", *wrong])) from None


def _plan(name: str, plan: _Plan) -> Plan:
    fields: dict[str, Any] = {**plan.model_dump(), "dormancy": DormancyPolicy(**plan.dormancy.model_dump())}
    return Plan(name=name, **fields)


def _number(quantity: str) -> float:
    number = quantity.rstrip("mMGi")
    return int(number) * _UNITS[quantity[len(number) :]]
