"""Who calls, by the headers of a request."""

import azure.functions as func
import pytest

from functions.http.replying import caller_of
from shared.errors import Invalid


def request(actor: str) -> func.HttpRequest:
    return func.HttpRequest(
        method="POST", url="https://berth.example/api/tenants", headers={"Berth-Actor": actor}, body=b""
    )


@pytest.mark.parametrize("actor", ["night shift", "user-4711", "Jürgen 🚢", "a" * 100])
def test_a_caller_has_any_name(actor: str) -> None:
    assert caller_of(request(actor)).actor == actor


@pytest.mark.parametrize("actor", ["owner@example.com", "Owner <owner@example.com>", "a\tb", "a" * 101])
def test_a_caller_is_no_address(actor: str) -> None:
    with pytest.raises(Invalid, match="Berth-Actor"):
        caller_of(request(actor))
