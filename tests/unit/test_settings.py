"""Settings: read once, every mistake in one message."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from shared.settings import Settings, SettingsError, describe, load_settings

GOOD = {
    "BERTH_TABLES_ENDPOINT": "https://berth.table.core.windows.net",
    "BERTH_TENANTS_OWNER": "tests",
    "BERTH_TENANTS_IMAGE": "registry.example.com/product",
    "BERTH_TENANTS_DEFAULT_VERSION": "1.0.0",
    "BERTH_TENANTS_SECRET_SEED": "0123456789abcdef",
    "BERTH_RECOVERY_SCHEDULE": "0 * * * * *",
    "BERTH_SWEEP_SCHEDULE": "0 30 2 * * *",
    "BERTH_PRICES_SCHEDULE": "0 23 4 * * *",
}

type Load = Callable[[Mapping[str, str]], Settings]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load the settings from these variables alone."""
    for name in [name for name in os.environ if name.startswith("BERTH_")]:
        monkeypatch.delenv(name)

    def load(variables: Mapping[str, str]) -> Settings:
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            return load_settings()

    return load


def test_a_setting_that_is_not_set_has_its_default(environment: Load) -> None:
    settings = environment({**GOOD, "BERTH_PROVISIONING_FAIL_AFTER": "120"})
    assert settings.provisioning.fail_after == 120
    assert settings.kubernetes.attempt_timeout == 3.0


def test_fields_with_underscores_are_found(environment: Load) -> None:
    variables = {"BERTH_KUBERNETES_MAX_CONCURRENT_REQUESTS": "7", "BERTH_KUBERNETES_WATCH_IDLE_TIMEOUT": "1"}
    settings = environment(GOOD | variables)
    assert (settings.kubernetes.max_concurrent_requests, settings.kubernetes.watch_idle_timeout) == (7, 1)


def test_the_sample_settings_are_good(environment: Load) -> None:
    sample = json.loads((Path(__file__).parents[2] / "local.settings.sample.json").read_text())
    assert environment(sample["Values"]).recovery.schedule == "0 * * * * *"


def test_variables_of_other_things_are_ignored(environment: Load) -> None:
    environment({**GOOD, "BERTH_URL": "https://example.com", "BERTH_KEY": "key", "BERTH_KUBE_BINARIES": "/x"})


@pytest.mark.parametrize("sign_in", ["key", "platform"])
def test_the_ops_pages_need_a_long_key(environment: Load, sign_in: str) -> None:
    assert environment(GOOD).ops.sign_in == "off"
    on = {**GOOD, "BERTH_OPS_SIGN_IN": sign_in}
    for key in ({}, {"BERTH_OPS_KEY": "0" * 31}):
        with pytest.raises(SettingsError, match="set BERTH_OPS_KEY to at least 32 random characters"):
            environment(on | key)
    assert environment({**on, "BERTH_OPS_KEY": "0" * 32}).ops.sign_in == sign_in


def test_every_mistake_is_in_one_message(environment: Load) -> None:
    wrong = {
        "BERTH_PROVISIONING_FAIL_AFTER": "soon",
        "BERTH_KUBERNETES_MAX_CONCURRENT_REQUESTS": "0",
        "BERTH_TABLES_ENDPIONT": "x",
    }
    with pytest.raises(SettingsError) as caught:
        environment(wrong)
    message = str(caught.value)
    missing = (
        "BERTH_TENANTS_OWNER",
        "BERTH_TENANTS_IMAGE",
        "BERTH_TENANTS_DEFAULT_VERSION",
        "BERTH_RECOVERY_SCHEDULE",
        "BERTH_SWEEP_SCHEDULE",
        "BERTH_PRICES_SCHEDULE",
        "BERTH_TABLES_CONNECTION",
    )
    for variable in (*wrong, *missing):
        assert variable in message
    with pytest.raises(SettingsError, match="exactly one of BERTH_TABLES_ENDPOINT and BERTH_TABLES_CONNECTION"):
        environment({**GOOD, "BERTH_TABLES_CONNECTION": "x"})


def test_a_section_alone_is_no_setting(environment: Load) -> None:
    with pytest.raises(SettingsError, match="BERTH_PROVISIONING: there is no such setting"):
        environment({**GOOD, "BERTH_PROVISIONING": '{"max_concurrent": 7}'})
    with pytest.raises(SettingsError, match="BERTH_TABLES: there is no such setting"):
        environment({**GOOD, "BERTH_TABLES": "hello"})


def test_a_reference_to_a_key_vault_is_no_secret(environment: Load) -> None:
    reference = "@Microsoft.KeyVault(SecretUri=https://x.vault.azure.net/secrets/y)"
    with pytest.raises(SettingsError, match="BERTH_TENANTS_SECRET_SEED: the Key Vault reference is not resolved"):
        environment({**GOOD, "BERTH_TENANTS_SECRET_SEED": reference})


def test_a_secret_is_in_no_message(environment: Load) -> None:
    secret = "AccountKey=c2VjcmV0"
    settings = environment({**GOOD, "BERTH_TABLES_ENDPOINT": "", "BERTH_TABLES_CONNECTION": secret})
    assert secret not in repr(settings)
    with pytest.raises(SettingsError) as caught:
        environment({**GOOD, "BERTH_TABLES_CONNECTION": secret, "BERTH_TENANTS_SECRET_SEED": "short-seed"})
    assert secret not in str(caught.value)
    assert "short-seed" not in str(caught.value)


def test_every_setting_says_what_it_means() -> None:
    rows = list(describe())
    assert len(rows) > 20
    assert all(meaning for _, _, meaning in rows)
