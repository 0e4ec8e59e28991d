"""Settings: read once, every mistake in one message."""

import pytest

from shared.settings import Settings, SettingsError, describe

GOOD = {
    "BERTH_TABLES_ENDPOINT": "https://berth.table.core.windows.net",
    "BERTH_TENANTS_IMAGE": "registry.example.com/product",
    "BERTH_TENANTS_DEFAULT_VERSION": "1.0.0",
    "BERTH_TENANTS_SECRET_SEED": "0123456789abcdef",
    "PATH": "/bin",
}


def test_what_is_not_set_has_its_default() -> None:
    settings = Settings.from_environment({**GOOD, "BERTH_PROVISIONING_FAIL_AFTER": "120"})
    assert settings.provisioning.fail_after == 120
    assert settings.kubernetes.try_seconds == 3.0


def test_every_mistake_is_in_one_message() -> None:
    wrong = {
        "BERTH_PROVISIONING_FAIL_AFTER": "soon",
        "BERTH_KUBERNETES_MAX_IN_FLIGHT": "0",
        "BERTH_TABLES_ENDPIONT": "x",
    }
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment(wrong)
    message = str(caught.value)
    for variable in (*wrong, "BERTH_TENANTS_IMAGE", "BERTH_TENANTS_DEFAULT_VERSION", "BERTH_TABLES_CONNECTION"):
        assert variable in message


def test_a_secret_is_in_no_message() -> None:
    secret = "AccountKey=c2VjcmV0"
    settings = Settings.from_environment({**GOOD, "BERTH_TABLES_ENDPOINT": "", "BERTH_TABLES_CONNECTION": secret})
    assert secret not in repr(settings)
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({**GOOD, "BERTH_TABLES_CONNECTION": secret})
    assert secret not in str(caught.value)


def test_every_setting_says_what_it_means() -> None:
    rows = list(describe())
    assert len(rows) > 20
    assert all(meaning for _, _, meaning in rows)
