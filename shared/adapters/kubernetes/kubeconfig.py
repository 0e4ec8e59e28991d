"""A context of a kubeconfig file, whose user may have a token that ends: from an exec plugin, a file or the kubeconfig.

The official client runs the plugin and reads the files, but only once. Here the plugin runs, without blocking the event
loop, and the files are read, whenever a token is needed: at first, when it ends, and when the API server refuses it.
"""

import sys
from datetime import datetime
from typing import Any

import yaml
from azure.core.credentials import AccessToken
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException, exec_provider, kube_config

from shared.adapters.kubernetes.tokens import RenewedTokens
from shared.errors import Unauthenticated, WrongRegistration

RENEW_AHEAD_SECONDS = 10  # kubectl uses a token to its end; this is for a request on its way
_TOKENS = {"exec", "auth-provider", "tokenFile", "token"}
_files: Any = kube_config  # untyped
_plugins: Any = exec_provider


async def load_context(path: str, context: str) -> tuple[Configuration, RenewedTokens | None]:
    """Return where a context's cluster is, and the tokens of its user unless that has a client certificate.

    Raises ConfigException if there is no such context that works. No plugin is run yet.

    Args:
        path: The kubeconfig file; empty takes the usual one.
        context: The context's name.
    """
    config, user = _read(path, context)
    has_token = not _TOKENS.isdisjoint(user)
    for each in _TOKENS:
        user.pop(each, None)
    configuration = await _loaded(config, context)
    if not has_token:
        return configuration, None
    host = str(configuration.host)
    return configuration, RenewedTokens(lambda: _token(path, context, host), renew_ahead=RENEW_AHEAD_SECONDS)


async def _token(path: str, context: str, host: str) -> AccessToken:
    """Return a token of a context's user; raises WrongRegistration if the context names another server by now."""
    try:
        config, user = _read(path, context)
        cluster = config["contexts"].get_with_name(context)["context"]["cluster"]
        if config["clusters"].get_with_name(cluster)["cluster"]["server"].rstrip("/") != host:
            raise WrongRegistration(
                f"the kubeconfig's context {context} names another server than the one connected to: restart berth"
            )
        if "exec" in user:
            return await _run_plugin(_files.ConfigNode("exec", user["exec"]))
        if "tokenFile" in user:
            user.pop("token", None)  # as kubectl: the file comes first
        loaded = await _loaded(config, context)
        return AccessToken(loaded.api_key["BearerToken"].removeprefix("Bearer ").strip(), sys.maxsize)
    except (ConfigException, OSError, ValueError, LookupError, yaml.YAMLError) as error:
        # Without the plugin's own output, which may hold anything.
        cause = str(error).partition(". ")[0] if isinstance(error, ConfigException) else type(error).__name__
        raise Unauthenticated(f"no token for the cluster from the kubeconfig's context {context}: {cause}") from error


async def _loaded(config: Any, context: str) -> Configuration:
    loaded = Configuration()
    await _files.KubeConfigLoader(config, context, config_base_path=None).load_and_set(loaded)
    return loaded


async def _run_plugin(plugin: Any) -> AccessToken:
    status = await _plugins.ExecProvider(plugin).run()
    if not status.get("token"):
        raise ConfigException("exec: the plugin gave no token; berth takes no client certificates from plugins")
    end = status.get("expirationTimestamp")
    return AccessToken(status["token"], int(datetime.fromisoformat(end).timestamp()) if end else sys.maxsize)


def _read(path: str, context: str) -> tuple[Any, dict[str, Any]]:
    """Return a kubeconfig as it is now, and the user of a context in it."""
    config = _files.KubeConfigMerger(path or _files.KUBE_CONFIG_DEFAULT_LOCATION).config
    if config is None:
        raise ConfigException(f"there is no kubeconfig file {path}")
    name = config["contexts"].get_with_name(context)["context"].safe_get("user")
    user = config["users"].get_with_name(name, safe=True) if name else None
    return config, user["user"].value if user else {}
