"""A function app as the host sees it: host.json, its settings, and its functions with their bindings."""

import asyncio
import importlib
import inspect
import json
import os
import re
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import azure.functions as func


@dataclass(frozen=True, slots=True)
class Function:
    """One function of the app. A binding is a mapping with `type`, `name` and whatever else it declares."""

    name: str
    call: Any
    trigger: Mapping[str, Any]
    inputs: tuple[Mapping[str, Any], ...]

    @property
    def kind(self) -> str:
        """What triggers it, such as httpTrigger."""
        return self.trigger["type"]


@dataclass(frozen=True, slots=True)
class App:
    """The app in a directory."""

    name: str
    host: Mapping[str, Any]
    functions: tuple[Function, ...]

    def of_kind(self, kind: str) -> list[Function]:
        """Return the functions with that trigger."""
        return [function for function in self.functions if function.kind == kind]

    def extension(self, name: str) -> Mapping[str, Any]:
        """Return a section of host.json's `extensions`."""
        return self.host.get("extensions", {}).get(name, {})


@dataclass
class Invocation:
    """What a function gets as its `context`."""

    function_name: str
    function_directory: str
    invocation_id: str = field(default_factory=lambda: str(uuid4()))
    thread_local_storage: threading.local = field(default_factory=threading.local)
    trace_context: Any = None
    retry_context: Any = None


class SettingMissingError(Exception):
    """A binding names an app setting that is not set."""


def load(directory: Path) -> App:
    """Import an app as `func start` would, with the values of its local.settings.json in the environment."""
    local_settings = directory / "local.settings.json"
    if local_settings.exists():
        for name, value in json.loads(local_settings.read_text())["Values"].items():
            os.environ.setdefault(name, value)
    os.chdir(directory)
    sys.path.insert(0, str(directory))
    module = importlib.import_module("function_app")
    apps = [value for value in vars(module).values() if isinstance(value, func.FunctionRegister)]
    if len(apps) != 1:
        raise ImportError(f"function_app.py defines {len(apps)} function apps, not one")
    functions = tuple(_function(each) for each in apps[0].get_functions())
    return App(directory.name, json.loads((directory / "host.json").read_text()), functions)


def substitute(text: str) -> str:
    """Put app settings in the place of %NAME%; raises SettingMissingError."""

    def value(match: re.Match[str]) -> str:
        try:
            return os.environ[match[1]]
        except KeyError:
            raise SettingMissingError(f"the app setting {match[1]} is not set") from None

    return re.sub(r"%([A-Za-z0-9_:.-]+)%", value, text)


async def invoke(function: Function, arguments: Mapping[str, Any], durable_client: str) -> Any:
    """Call a function with its trigger's data and its input bindings.

    Args:
        function: What to call; a coroutine function runs here, another one in a thread.
        arguments: The trigger's data by parameter name.
        durable_client: The configuration that a durable client binding is given.
    """
    given = dict(arguments)
    for binding in function.inputs:
        if binding["type"] == "durableClient":
            given[binding["name"]] = durable_client
    if "context" in inspect.signature(function.call).parameters:
        given.setdefault("context", Invocation(function.name, str(Path.cwd())))
    if inspect.iscoroutinefunction(function.call):
        return await function.call(**given)
    return await asyncio.to_thread(function.call, **given)


def _function(declared: Any) -> Function:
    bindings: list[dict[str, Any]] = [binding.get_dict_repr() for binding in declared.get_bindings()]
    triggers = [binding for binding in bindings if binding["type"].endswith("Trigger")]
    inputs = tuple(binding for binding in bindings if not binding["type"].endswith("Trigger"))
    return Function(declared.get_function_name(), declared.get_user_function(), triggers[0], inputs)
