"""Reports of activity over HTTP, on the whole stack."""

from tests.support.stack import ProxiedStack


async def test_activity_is_recorded_and_shown(berth: ProxiedStack) -> None:
    operation = await berth.ended(await berth.sign_up())
    slug = operation["tenant"]
    assert await berth.api.call("POST", f"tenants/{slug}/activity") == {"tenant": slug, "recorded": True}
    assert await berth.api.call("POST", f"tenants/{slug}/activity", {"source": "product"}) == {
        "tenant": slug,
        "recorded": False,
    }
    tenant = await berth.api.call("GET", f"tenants/{slug}")
    [signal] = [each for each in tenant["activity"] if each["last_activity_at"]]
    assert (signal["source"], signal["required"]) == ("heartbeat", False)
    assert 0 <= signal["age_seconds"] < 60
    assert tenant["dormancy"]["decision"] == "keep"
    assert "it was last used 0.0 days ago (heartbeat)" in tenant["dormancy"]["reason"]
    assert tenant["dormancy"]["due_at"] == tenant["dormancy"]["next_due"]


async def test_a_batch_names_tenants_by_their_namespaces(berth: ProxiedStack) -> None:
    operation = await berth.ended(await berth.sign_up())
    path = f"tenants/{operation['tenant']}"
    tenant = await berth.api.call("GET", path)
    batch = {
        "source": "gateway",
        "cluster": tenant["cluster"],
        "entries": [{"namespace": f"tenant-{tenant['instance']}"}, {"slug": "never-made"}],
        "watched": {"since": tenant["created_at"], "until": tenant["changed_at"]},
    }
    assert await berth.api.call("POST", "activity", batch) == {
        "rejected": [{"pointer": "/entries/1", "detail": "there is no tenant never-made"}]
    }
    [signal] = [each for each in (await berth.api.call("GET", path))["activity"] if each["source"] == "gateway"]
    assert signal["watched_since"] == tenant["created_at"]
    assert signal["watched_until"] == tenant["changed_at"]
    assert signal["last_activity_at"] > tenant["changed_at"]
