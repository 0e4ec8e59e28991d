"""What costs money besides the tenants' disks, from the document shared/assets.yaml, which operators edit."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.adapters.strict_yaml import StrictLoader
from shared.domain.assets import Assets, Machine, Overhead
from shared.domain.prices import PriceId

FILE = Path(__file__).parents[1] / "assets.yaml"

Amount = Annotated[
    str, Field(pattern=r"^(0|[1-9][0-9]{0,11})(\.[0-9]{1,9})?$")
]  # in quotes: YAML's numbers are not exact
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_]{0,99}$")]
Count = Annotated[int, Field(ge=1, le=100_000)]


class AssetsError(Exception):
    """The document of assets is wrong; the message lists everything that is."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Machine(_Part):
    cpu: Count
    memory: Count
    disks: Annotated[int, Field(ge=0, le=1000)]


class _Item(_Part):
    price: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}$")]
    quantity: Amount


class _Overhead(_Part):
    cluster: list[_Item]
    all: list[_Item]


class _Document(_Part):
    machines: Annotated[dict[Name, _Machine], Field(min_length=1)]
    reference: str
    disks: dict[str, Name]
    attach_share: Amount
    overhead: _Overhead

    @model_validator(mode="after")
    def _fits(self) -> "_Document":
        if self.reference not in self.machines:
            raise ValueError(f"there is no {self.reference}, the reference, under machines")
        if Decimal(self.attach_share) > 1:
            raise ValueError("attach_share is from 0 to 1")
        return self


def load_assets(path: Path = FILE) -> Assets:
    """Return what a document says.

    Raises:
        AssetsError: It cannot be read, or something in it is missing, out of range, or has a name that nothing has.
    """
    try:
        document: Any = yaml.load(path.read_text(encoding="utf-8"), StrictLoader)  # noqa: S506 - a safe loader
        read = _Document.model_validate(document)
    except ValidationError as error:
        wrong = [
            f"  {'.'.join(map(str, each['loc'])) or 'the document'}: {each['msg'].removeprefix('Value error, ')}"
            for each in error.errors(include_url=False)
        ]
    except (OSError, ValueError, yaml.YAMLError) as error:
        wrong = [f"  {error}"]
    else:
        return Assets(
            machines={
                name: Machine(1000 * each.cpu, 1024 * each.memory, each.disks) for name, each in read.machines.items()
            },
            reference=read.reference,
            disks=read.disks,
            attach_share=Decimal(read.attach_share),
            of_each_cluster=[_overhead(each) for each in read.overhead.cluster],
            of_all=[_overhead(each) for each in read.overhead.all],
        )
    raise AssetsError("\n".join([f"the document of assets, {path.name}, is wrong:", *wrong])) from None


def _overhead(item: _Item) -> Overhead:
    return Overhead(PriceId(item.price), Decimal(item.quantity))
