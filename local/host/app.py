"""A function app as the host sees it: host.json, its settings, and its functions as its worker describes them."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Function:
    """One function of the app. A binding is a mapping with `type`, `name` and whatever else it declares."""

    name: str
    id: str
    trigger: Mapping[str, Any]
    inputs: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(cls, metadata: Any) -> Self:
        """Return the function that a worker's RpcFunctionMetadata describes."""
        bindings: list[dict[str, Any]] = [json.loads(text) for text in metadata.raw_bindings]
        triggers = [binding for binding in bindings if binding["type"].endswith("Trigger")]
        inputs = tuple(each for each in bindings if each not in triggers and each["direction"] == "IN")
        return cls(metadata.name, metadata.function_id, triggers[0], inputs)

    @property
    def kind(self) -> str:
        """What triggers it, such as httpTrigger."""
        return self.trigger["type"]


@dataclass(frozen=True, slots=True)
class App:
    """The app in a directory: where it is, and its host.json."""

    directory: Path
    host: Mapping[str, Any]

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Read host.json, and put the values of local.settings.json into the environment, as `func start` would."""
        local_settings = directory / "local.settings.json"
        if local_settings.exists():
            for name, value in json.loads(local_settings.read_text())["Values"].items():
                os.environ.setdefault(name, value)
        return cls(directory, json.loads((directory / "host.json").read_text()))

    @property
    def has_open_telemetry(self) -> bool:
        """Whether host.json has the telemetry mode OpenTelemetry."""
        return str(self.host.get("telemetryMode")).lower() == "opentelemetry"

    def extension(self, name: str) -> Mapping[str, Any]:
        """Return a section of host.json's `extensions`."""
        return self.host.get("extensions", {}).get(name, {})


class SettingMissingError(Exception):
    """A binding names an app setting that is not set."""


def substitute(text: str) -> str:
    """Put app settings in the place of %NAME%; raises SettingMissingError."""

    def value(match: re.Match[str]) -> str:
        try:
            return os.environ[match[1]]
        except KeyError:
            raise SettingMissingError(f"the app setting {match[1]} is not set") from None

    return re.sub(r"%([A-Za-z0-9_:.-]+)%", value, text)
