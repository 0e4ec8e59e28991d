"""A client of berth's HTTP API."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import httpx

type Json = dict[str, Any]

# The Functions host itself responds so, without a body.
UNAUTHORIZED = (
    "The key is not valid for this request. Set BERTH_KEY to a function key; operators' commands need the master key."
)
INVALID = "/api/problems/invalid-request"


class ProblemError(Exception):
    """The API responded with a problem document."""

    def __init__(self, status: int, problem: Json) -> None:
        self.status = status
        self.problem = problem
        text = f"{status} {problem.get('title', '')}"
        if problem.get("type") != INVALID:  # whose detail says only that the fields are in `errors`: they follow here
            text += f": {problem.get('detail', '')}"
        for each in problem.get("errors", ()):
            text += "\n  " + ": ".join(filter(None, (each["pointer"], each["detail"])))
        super().__init__(text)


class Api:
    """One connection pool to a running berth; use it as an async context manager.

    Args:
        url: Where the host listens, without /api.
        key: A function key, or the master key for operators' requests.
    """

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"x-functions-key": key, "Berth-Actor": "berth CLI"},
            timeout=60,
            limits=httpx.Limits(max_connections=200),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def call(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        **query: str | int,
    ) -> Json:
        """Send one request and return the JSON of the response.

        Raises:
            ProblemError: The response is a problem document, or is not JSON.
            httpx.HTTPError: There was no response.
        """
        return _json(await self._http.request(method, f"/api/{path}", json=body, params=query, headers=headers))

    async def follow(self, operation: Json, *, every: float = 0.5) -> AsyncIterator[Json]:
        """Poll an operation and yield each result; the last one yielded has ended."""
        while operation["finished_at"] is None:
            yield operation
            await asyncio.sleep(every)
            operation = await self.call("GET", f"operations/{operation['id']}")
        yield operation

    async def all(self, path: str, **query: str | int) -> list[Json]:
        """Return the items of all pages of a list."""
        items: list[Json] = []
        page: Json = {"next": ""}
        while True:
            more = {"next": page["next"]} if page["next"] else {}
            page = await self.call("GET", path, **query, **more)
            items += page["items"]
            if not page.get("next"):
                return items


@asynccontextmanager
async def expect_problem(status: int, problems: list[str]) -> AsyncGenerator[None]:
    """Run a request that must get a problem of that status and add it to `problems`; else raise AssertionError."""
    try:
        yield
    except ProblemError as error:
        if error.status != status:
            raise
        problems.append(str(error))
    else:
        raise AssertionError(f"a request succeeded that should have got the status {status}")


def _json(response: httpx.Response) -> Json:
    try:
        body = response.json()
    except ValueError:
        unauthorized = response.status_code == HTTPStatus.UNAUTHORIZED
        detail = UNAUTHORIZED if unauthorized else "The response is not JSON. Check the URL."
        body = {"title": response.reason_phrase, "detail": detail}
    if response.is_error:
        raise ProblemError(response.status_code, body)
    return body
