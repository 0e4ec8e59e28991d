"""Paths, queries, headers, keys and clusters that must be refused, and bytes that are no HTTP.

As in bad_bodies.py, missing and unknown fields are left to stacks/test_fuzz.py.
"""

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator

from tests.integration.api.bad_bodies import CLUSTER, GOOD, INVISIBLE, JSON, LONE, NOT_TEXT, Case, body, words

SEGMENTS = [
    # control characters, directions, invisible characters
    *words("%00 TENANT%00 %0a TENANT%0d%0aX-Injected:%201 %01 %7f %e2%80%ae %e2%80%8bTENANT TENANT%20 %20TENANT"),
    # from OData and table keys
    *words("%27 TENANT%27%20or%201%20eq%201 %40shard TENANT%23 TENANT%3f TENANT%5c a%5cb ..%5c..%5cetc"),
    # from JSON, Jinja, YAML, shells and HTML
    *words("%22 %7b%7b7*7%7d%7d %7b%25%20raw%20%25%7d a:%20b * %26a !!map $(id) %3cscript%3e"),
    # dots, and invalid encodings
    *words("%2e%2e ... TENANT. %54ENANT-A %ff %c0%af %ed%a0%80 % %zz %u0061"),
    # look-alikes, combining, emoji, reserved, too long
    *words("%d0%b0cme %ef%bc%a1cme cafe%cc%81 %f0%9f%9a%a2 xn--a ACME kube-system default"),
    *("a" * 64, "a" * 3000),
]
FEW = words("%00 %0d%0aX-Injected:%201 %27%20or%201%20eq%201 %2e%2e %5c %23 %ff %7b%7b7*7%7d%7d")
CLUSTER_NAMES = [
    *words("A a_b -a a- a.b a%20b a%00 a%0a a%0d%0aX-Injected:%201 %c3%a9 %d0%b0 %f0%9f%9a%a2 on:local"),
    *words("a%27 a%5cb a%23 a%3f %2e%2e %40shard %7b%7b7*7%7d%7d"),
    "a" * 41,
]


def token(text: str | bytes) -> str:
    """Return a forged continuation token."""
    return urlsafe_b64encode(text.encode() if isinstance(text, str) else text).decode()


TOKENS = [
    *words("??? null 0 %00 %ff %27%20or%201%20eq%201 @after {{7*7}} ..%2f.."),
    *("", "a" * 5000, "%20" + token("0abcd"), token("0abcd") + "=", token("0abcd").rstrip("=") + "!"),
    *(token(text) for text in ("", "0", "g", "zz", "0a/b", "0a\\b", "0a#b", "0a?b", "0a\0", "0a\nb", "@shard")),
    *(token(text) for text in ("0a' or 1 eq 1 or '", "0é", "\u0660abc", b"\xff\xfe", b"0\xed\xa0\x80", "0" + "a" * 64)),
]
LIMITS = [
    *words("0 -1 %2b1 1.0 1e2 0x10 1001 %20 1%20 1%00 1%0a infinity nan 1,2 1%27 {{7*7}}"),
    *("", "%d9%a3", "%ef%bc%91", "%c2%b2", "9" * 400),
]
FILTERS = {
    "state": ["", *words("ACTIVE active%00 active,failed %20active active%27%20or%201%20eq%201 * @shard")],
    "plan": ["", *words("Trial trial%0a trial%27 {{7*7}} %ff tri%e2%80%8bal")],
    "cluster": ["", *words("Local a%27b a%22 on:local @shard %00 ..%2flocal %f0%9f%9a%a2")],
    "region": ["", *words("Local %27 lo%20cal {%25%20raw%20%25} %ed%a0%80 local%0d%0aX-Injected:%201 *")],
}
UNKNOWN = {
    "stat=active": "stat",
    "State=active": "State",
    "state%5b%5d=active": "state[]",
    "state%00=active": "state\0",
    "%24filter=true": "$filter",
    "offset=1": "offset",
    "=active": "",
    "active": "active",
    "a%26b=1": "a&b",
    "%ff=1": "\ufffd",
    "%d1%95tate=active": "\u0455tate",
    "next%20=1": "next ",
    "@shard=0": "@shard",
}
OTHER_ROUTES = [
    *words(
        "POST:tenants GET:tenants/TENANT DELETE:tenants/TENANT POST:tenants/TENANT/retry GET:slugs/never-made"
        " POST:tenants/TENANT/sleep POST:tenants/TENANT/wake"
    ),
    *words("GET:operations/OPERATION POST:operations/OPERATION/cancel GET:clusters PUT:clusters/local"),
    "GET:dependencies",
]
KEYS = {
    "empty": b"",
    "very long": b"k" * 20_000,
    "Unicode": "snow\N{SNOWMAN}".encode(),
    "a tab": b"a\tb",
    "a control character": b"a\x01b",
    "an escape": b"a\x1b[2J",
    "deleted": b"a\x7f",
}
ACTORS = {
    "an e-mail address": b"owner@example.com",
    "very long": b"a" * 20_000,
    "an escape": b"night\x1b[2Jshift",
    "a tab": b"night\tshift",
    "right to left": "night\u202eshift".encode(),
    "zero width": "night\u200bshift".encode(),
    "no character": "night\uffff".encode(),
    "another space": "night\u00a0shift".encode(),
}
SERVERS = [
    *words("https:// http://a.example.com ftp://a.example.com //a.example.com a.example.com https://a/b https://u:p@a"),
    *words("https://a?x https://a#x https://é.example.com https://a:0 https://a:65536 https://a:999999 https://a:"),
    *words("https://a:1:2 https://.. https://-a https://[::1] https://{{7*7}} https://a' javascript:a file:///a"),
    *("", "https://" + "a" * 300, "https://a b", "https://a\n", "https://a\0"),
]
BEGIN, END = "-----BEGIN CERTIFICATE-----\n", "\n-----END CERTIFICATE-----\n"
PEMS = [
    *("", "AAAA", BEGIN, BEGIN + END, f"{BEGIN}AAAA{END}", f" {BEGIN}AAAA{END}", f"{BEGIN}{'A' * 20_000}{END}"),
    *(f"{BEGIN}é{END}", f"{BEGIN}\0{END}", f"{BEGIN}{{{{7*7}}}}{END}"),
    "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
]


def paths() -> Iterator[Case]:
    """Names in paths that no tenant, operation or cluster can have."""
    tail = ".0123456789abcdefghjk"  # makes the id of an operation from any slug
    for segment in SEGMENTS:
        yield Case(f"tenant {segment[:40]}", "GET", f"tenants/{segment}", 404)
        yield Case(f"operation of {segment[:40]}", "GET", f"operations/{segment}{tail}", 404)
        for method in ("GET", "POST"):
            yield Case(f"{method} visit of {segment[:40]}", method, f"visits/{segment}", 404, key="none")
            yield Case(f"{method} visit below {segment[:40]}", method, f"visits/{segment}.example.com", 404, key="none")
            yield Case(f"{method} visit under {segment[:40]}", method, f"visits/TENANT.{segment}", 404, key="none")
    for segment in FEW:
        yield Case(f"deletion of {segment[:40]}", "DELETE", f"tenants/{segment}", 404)
        yield Case(f"retry of {segment[:40]}", "POST", f"tenants/{segment}/retry", 404)
        yield Case(f"sleep of {segment[:40]}", "POST", f"tenants/{segment}/sleep", 404)
        yield Case(f"wake of {segment[:40]}", "POST", f"tenants/{segment}/wake", 404)
        yield Case(f"audit of {segment[:40]}", "GET", f"tenants/{segment}/audit", 404)
        yield Case(f"cancellation of {segment[:40]}", "POST", f"operations/{segment}{tail}/cancel", 404)
    for wrong in words("nonsense TENANT OPERATIONx OPERATION%00 OPERATION%0a TENANT. TENANT.ilou %d9%a3 ."):
        yield Case(f"operation {wrong}", "GET", f"operations/{wrong}", 404)
    for name in CLUSTER_NAMES:
        yield Case(f"cluster {name[:40]}", "PUT", f"clusters/{name}", 422, ("",), body(CLUSTER), JSON, "master")


def queries() -> Iterator[Case]:
    """Filters, pages and unknown parameters."""
    for path in ("tenants", "tenants/TENANT/audit"):
        for text in TOKENS:
            yield Case(f"{path}, next {text[:40]}", "GET", f"{path}?next={text}", 422, ("?next",))
        for text in LIMITS:
            yield Case(f"{path}, limit {text[:40]}", "GET", f"{path}?limit={text}", 422, ("?limit",))
        for text, name in UNKNOWN.items():
            yield Case(f"{path}, {text}", "GET", f"{path}?{text}", 422, (f"?{name}",))
        for name in ("limit", "next"):
            yield Case(f"{path}, {name} twice", "GET", f"{path}?{name}=1&{name}=1", 422, (f"?{name}",))
    for name, values in FILTERS.items():
        for text in values:
            yield Case(f"{name}={text[:40]}", "GET", f"tenants?{name}={text}", 422, (f"?{name}",))
        yield Case(f"{name} twice", "GET", f"tenants?{name}=a&{name}=b", 422, (f"?{name}",))
        yield Case(f"audit by {name}", "GET", f"tenants/TENANT/audit?{name}=a", 422, (f"?{name}",))
    for method in ("GET", "POST"):
        for text, name in {**UNKNOWN, "wake=true": "wake"}.items():
            path = f"visits/TENANT.example.com?{text}"
            yield Case(f"{method} visit, {text}", method, path, 422, (f"?{name}",), key="none")
    yield Case("two wrong filters", "GET", "tenants?state=x&plan=Y", 422, ("?state", "?plan"))
    for method, path in (each.split(":", 1) for each in OTHER_ROUTES):
        key = "master" if path.startswith("clusters") else "function"
        yield Case(f"{method} {path}", method, f"{path}?dry_run=true", 422, ("?dry_run",), key=key)


def headers() -> Iterator[Case]:
    """Idempotency keys, actors, and bodies of requests that take none."""
    changes = [
        ("POST", "tenants", GOOD.encode(), JSON),
        ("DELETE", "tenants/TENANT", b"", ()),
        ("POST", "tenants/TENANT/retry", b"", ()),
    ]
    for method, path, content, given in changes:
        for name, table in (("Idempotency-Key", KEYS), ("Berth-Actor", ACTORS)):
            for about, value in table.items():
                held = (*given, (name, value))
                yield Case(f"{method} {path}, {name}: {about}", method, path, 422, (name,), content, held)
    for content in (b"{}", b'{"dry_run": true}', b"\0", b"x" * 100_000):
        for method, path in (("DELETE", "tenants/TENANT"), ("POST", "operations/OPERATION/cancel")):
            yield Case(f"{method} {path} with {content[:20]!r}", method, path, 422, ("",), content, JSON)
        for path in ("tenants", "tenants/TENANT", "operations/OPERATION", "tenants/TENANT/audit", "slugs/never-made"):
            yield Case(f"GET {path} with {content[:20]!r}", "GET", path, 422, ("",), content, JSON)
        for method in ("GET", "POST"):
            path = "visits/TENANT.example.com"
            yield Case(f"{method} {path} with {content[:20]!r}", method, path, 422, ("",), content, JSON, "none")


def clusters() -> Iterator[Case]:
    """Every field of PUT /api/clusters/{name}, sent to the one that is there."""
    for raw in (*words('0 -1 -0 100001 1.0 1e2 1e999 "5" "five" null true [5] {}'), "9" * 100):
        yield _cluster(f"capacity {raw[:20]}", "/capacity", capacity=raw)
    for raw in ("true", "0", "[]", "{}", '""', '"closed"', '"OPEN"', '"open "', '"open\\n"', '"\\u0000"'):
        yield _cluster(f"state {raw}", "/state", state=raw)
    for text in ("", "a" * 41, "Local", "lo cal", "local'", "local\n", "{{7*7}}", "l\u043ecal", "../local"):
        yield _cluster(f"region {text[:20]!a}", "/region", region=json.dumps(text))
    yield _cluster("a lone surrogate", "", region=LONE)
    for about, raw in NOT_TEXT.items():
        yield _cluster(f"region is {about}", "/region", region=raw)
        for field_name in ("kubeconfig_context", "server", "ca_pem"):
            yield _cluster(f"{field_name} is {about}", f"/access/{field_name}", access=f'{{"{field_name}": {raw}}}')
        yield _cluster(f"domain is {about}", "/domain", domain=raw)
        if about != "an object":
            yield _cluster(f"gateway is {about}", "/gateway", gateway=raw)
        for field_name in ("name", "namespace", "listener", "pods_namespace"):
            gateway = body({"namespace": '"gateway"', "name": '"tenants"'}, **{field_name: raw}).decode()
            yield _cluster(f"gateway's {field_name} is {about}", f"/gateway/{field_name}", gateway=gateway)
    for text in ("", "localhost", "Example.com", "*.example.com", "a..b", "-a.b", "a.b.", "a.b/c", "a.b:443", "ä.b"):
        yield _cluster(f"domain {text}", "/domain", domain=json.dumps(text))
    for text in ("", "A", "a/b", "a b", "a.b", "-a", "a" * 64):
        gateway = json.dumps({"namespace": text, "name": "tenants"})
        yield _cluster(f"gateway's namespace {text[:20]!a}", "/gateway/namespace", gateway=gateway)
    yield _cluster("no way", "/access", access="{}")
    yield _cluster("half of one way", "/access", access='{"server": "https://a"}')
    yield _cluster("both ways", "/access", access='{"kubeconfig_context": "local", "server": "https://a"}')
    yield _cluster("a third way", "/access/token", access='{"kubeconfig_context": "local", "token": "a"}')
    yield _cluster("a way twice", "", access='{"kubeconfig_context": "local", "kubeconfig_context": "b"}')
    for field_name, values in {
        "kubeconfig_context": ["", "a" * 101, *(value for table in INVISIBLE.values() for value in table)],
        "server": SERVERS,
        "ca_pem": PEMS,
    }.items():
        for value in values:
            access = json.dumps({field_name: value})
            yield _cluster(f"{field_name} {value[:30]!a}", f"/access/{field_name}", access=access)


def without_key() -> Iterator[Case]:
    """Requests that get the host's own 401, without a body."""
    for method, path in (each.split(":", 1) for each in ("GET:tenants", *OTHER_ROUTES)):
        for key in ("none", "wrong", "empty"):
            yield Case(f"{method} {path}, {key} key", method, path, 401, None, b"", (), key)
    good = body(CLUSTER)
    yield Case("function key to register", "PUT", "clusters/local", 401, None, good, JSON)
    yield Case("function key to list clusters", "GET", "clusters", 401)
    yield Case("function key to remove", "DELETE", "clusters/local", 401)
    yield Case("function key to list findings", "GET", "reconciliations", 401)
    yield Case("function key in the query", "PUT", "clusters/local?code=FUNCTION", 401, None, good, JSON, "none")
    yield Case("wrong key in the query", "POST", "tenants?code=wrong", 401, None, GOOD.encode(), JSON, "none")
    for about, value in {"Unicode": "schlüssel".encode(), "bytes": b"\xff\xfe", "long": b"k" * 20_000}.items():
        held = (*JSON, ("x-functions-key", value))
        yield Case(f"{about} as key", "POST", "tenants", 401, None, GOOD.encode(), held, "none")
    bearer = (*JSON, ("Authorization", b"Bearer x"), ("x-functions-key-id", b"master"))
    yield Case("a bearer token", "POST", "tenants", 401, None, GOOD.encode(), bearer, "none")


UNKNOWN_PATHS = [
    *words("GET:nothing POST:tenant GET:tenants/TENANT/nothing POST:tenants/TENANT/retry/now GET:{{7*7}} GET:%00"),
    *words("GET:tenants/a%2fb GET:tenants/..%2fclusters GET:..%2f..%2fetc%2fpasswd GET:tenants/../x"),
    *words("GET:tenants//audit GET:operations/a%2fb PUT:clusters/a%2fb"),
    *words("GET:visits POST:visits/a%2fb.example.com POST:visits/TENANT.example.com/wake"),
]
WRONG_METHODS = [
    *words("PUT:tenants DELETE:tenants PATCH:tenants/TENANT PUT:tenants/TENANT GET:tenants/TENANT/retry"),
    *words("DELETE:tenants/TENANT/audit POST:clusters GET:clusters/local GET:operations/OPERATION/cancel"),
    *words("DELETE:operations/OPERATION POST:slugs/never-made PUT:visits/TENANT.example.com"),
]


def malformed(head: str) -> dict[str, bytes]:
    """Return invalid HTTP requests; each would sign up a tenant if it were parsed leniently."""
    good = GOOD.encode()
    length = f"Content-Length: {len(good)}"
    start = f"POST /api/tenants HTTP/1.1\r\n{head}"

    def request(*lines: str, content: bytes = good) -> bytes:
        return (start + "".join(f"{line}\r\n" for line in lines) + "\r\n").encode() + content

    return {
        "a length that is no number": request("Content-Length: many"),
        "a negative length": request("Content-Length: -1"),
        "a signed length": request(f"Content-Length: +{len(good)}"),
        "two lengths": request(length, "Content-Length: 5"),
        "an endless length": request("Content-Length: " + "9" * 40),
        "a length in Unicode": request("Content-Length: \u0663"),
        "a folded header": request(length, "X-A: b", " Berth-Actor: c", "X B: c"),
        "a header without colon": request(length, "Nonsense"),
        "a space before the colon": request(length, "Berth-Actor : a"),
        "a NUL in a header": request(length, "Berth-Actor: a\0b"),
        "a bare line end in a header": request(length, "Berth-Actor: a\rX-B: c"),
        "a bad chunk": request("Transfer-Encoding: chunked", content=b"zz\r\n" + good + b"\r\n0\r\n\r\n"),
        "an unknown transfer": request("Transfer-Encoding: gzip"),
        "an actor in no UTF-8": request(length, "X-A: b").replace(b"X-A: b", b"Berth-Actor: \xff\xfe"),
        "a key in Latin-1": request(length, "X-A: b").replace(b"X-A: b", b"Idempotency-Key: \xe9"),
        "a very long header": request(length, "X-A: " + "a" * 200_000),
        "very many headers": request(length, *(f"X-{number}: {'a' * 50}" for number in range(5000))),
        "a body cut off": request("Content-Length: 5000"),
        "a very long address": b"GET /api/tenants?next=" + b"a" * 200_000 + b" HTTP/1.1\r\n" + head.encode() + b"\r\n",
        "a space in the address": b"GET /api/tenants /x HTTP/1.1\r\n" + head.encode() + b"\r\n",
        "bytes in the address": b"GET /api/tenants/\xff HTTP/1.1\r\n" + head.encode() + b"\r\n",
        "another version": b"POST /api/tenants HTTP/9.9\r\n" + head.encode() + b"\r\n" + good,
        "no version": b"GET /api/tenants\r\n\r\n",
        "no host": b"GET /api/tenants HTTP/1.1\r\n\r\n",
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
        "noise": bytes(range(256)) * 20,
        "nothing": b"",
    }


def _cluster(about: str, pointer: str, **changed: str) -> Case:
    return Case(about, "PUT", "clusters/local", 422, (pointer,), body(CLUSTER, **changed), JSON, "master")
