"""Bodies that must be refused, as readable tables: what is sent, and where the problem document must point.

Missing and unknown fields are made from the API's description by stacks/test_fuzz.py. It makes wrong types and lengths
too, but does not notice when one of them is accepted: those stay here.
"""

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

JSON = (("Content-Type", b"application/json"),)
# JSON escapes of what no encoding can write down: the body itself is wrong, whichever field has them.
LONE, REVERSED = r'"A\ud800"', r'"\udc00\ud800"'


@dataclass(frozen=True)
class Case:
    """A request and the response that it must get.

    `path` comes after /api/ and is sent unchanged, except that TENANT and OPERATION in it are replaced by real names.
    """

    about: str
    method: str
    path: str
    status: int = 422
    pointers: tuple[str, ...] | None = None
    body: bytes = b""
    headers: tuple[tuple[str, bytes], ...] = ()
    key: str = field(default="function")


SIGNUP = {
    "slug": '"never-made"',
    "plan": '"trial"',
    "region": '"local"',
    "email": '"a@example.com"',
    "display_name": '"A"',
}
CLUSTER = {
    "region": '"local"',
    "capacity": "100",
    "access": '{"kubeconfig_context": "local"}',
    "domain": '"local.example.com"',
    "gateway": '{"namespace": "gateway", "name": "tenants"}',
}
NOT_TEXT = {
    "null": "null",
    "true": "true",
    "a number": "7",
    "a float": "1.5",
    "a list": '["a"]',
    "an object": '{"a": "b"}',
}

SLUGS = {
    "upper case": ["Acme", "ACME"],
    "look-alikes": ["\u0430cme", "\u03bfmega", "\uff41cme", "\u0131stanbul", "ﬁrm", "acme\u0661"],
    "accents, composed and combining": ["café", "cafe\u0301"],
    "right to left": ["שלום", "abc\u202edef", "abc\u200f"],
    "zero width and soft": ["ab\u200bc", "ab\u200dc", "\ufeffabc", "ab\u00adc", "ab\u2060c"],
    "other hyphens": ["ab\u2011c", "ab\u2013c", "ab_c"],
    "spaces": [" abc", "abc ", "a bc", "abc\u00a0", "abc\u3000"],
    "control characters": ["abc\0", "\0abc", "abc\x01", "abc\x1b[31m", "abc\x7f", "abc\x85", "abc\t"],
    "line ends": ["abc\n", "abc\ndef", "abc\r\n", "abc\u2028"],
    "emoji": ["🚢🚢🚢", "abc👩\u200d🚀"],
    "hyphens and dots": ["-abc", "abc-", "a--b", "xn--bcher-kva", "a.bc", "abc.", "...", "1abc", "123"],
    "lengths": ["", "a", "ab", "a" * 41, "a" * 63, "a" * 64, "a" * 101, "a" * 10_000],
    "of a table key": ["a/bc", "a\\bc", "a#bc", "a?bc", "a%2fbc"],
    "OData": ["abc' or 1 eq 1", "abc''", "@shard", "abc) or (true"],
    "YAML": ["abc: def", "&abc", "*abc", "!!map", "abc #", "|-", "[abc]", "{abc}"],
    "templates": ["{{7*7}}", "{{ slug }}", "{% raw %}", "${HOME}", "$(id)"],
    "JSON": ['abc"', 'a","plan":"enterprise'],
    "paths": ["../abc", "..", "abc/../.."],
    "reserved": ["admin", "api", "www", "login", "root", "autodiscover", "localhost", "postmaster"],
    "of Kubernetes": ["default", "kubernetes", "kube-system", "kube-public", "kube-node-lease", "kube-mine", "svc"],
}
EMAILS = {
    "incomplete": ["", "a", "@", "a@", "@example.com", "a@b@example.com"],
    "more than an address": ["A <a@example.com>", "<a@example.com>", "a@example.com,b@example.com", " a@example.com"],
    "control characters": ["a\0@example.com", "a@example.com\n", "a\r\nBcc: b@example.com", "a@example.com\x7f"],
    "invisible": ["a\u200b@example.com", "a\u202e@example.com", "a@exam\u00adple.com\u200e"],
    "hosts": ["a@localhost", "a@[127.0.0.1]", "a@-a.com", "a@a..com", "a@a_b.com", "a@x.test", "a@svc.local"],
    "local parts": [".a@example.com", "a.@example.com", "a..b@example.com", '"a b"@example.com', "a b@example.com"],
    "lengths": [
        "a@" + "b" * 64 + ".com",
        "a@" + "b." * 130 + "com",
        "A" * 300 + " <a@b.com>",
    ],
}
INVISIBLE = {
    "line ends": ["a\nb", "a\r\nb", "a\u2028b", "a\u2029b", "a\x0bb", "a\x85b"],
    "control characters": ["\0", "a\0", "a\tb", "\x1b[2J", "a\x7f"],
    "invisible": ["a\u200bb", "a\u200d", "a\ufeff", "a\u00adb", "a\U000e0041", "\u2060", "a\u3164\u200c"],
    "directions": ["a\u202eb", "a\u2066b", "\u200fa"],
    "spaces": [" ", " a", "a ", "a\u00a0b", "\u3000a"],
    "no characters": ["a\ufffe", "a\uffff", "a\U0010ffff", "a\u0378", "a\ue000", "a\U000f0000"],
}
DISPLAY_NAMES = {**INVISIBLE, "lengths": ["", "a" * 101, "🚢" * 101, "a" * 20_000]}
VERSIONS = {
    "no tag": ["", "a" * 129, ".1", "-1", "a b", "v/1", "v1:2", "v1@sha256:00"],
    "Unicode": ["v\uff11", "ü1", "v1\u200b", "v1\0", "v1\n", "\u202ev1"],
    "paths and templates": ["../../etc", "{{7*7}}", "$(id)", "v1;id", "v1'", 'v1"', "@shard"],
}
REGIONS = {
    "not there": ["mars", "-", "local-1", "null"],
    "no name": ["", "a" * 41, "Local", "lo cal", "local\n", "local\0", "löcal", "l\u043ecal", "local."],
    "elsewhere": ["local' or 1 eq 1", "@shard", "{{ region }}", "../local", 'local"', "local: x", "local#"],
}
PLAN_NAMES = {
    "no plan": ["", "gold", "a" * 1000, "Trial", "TRIAL", " trial", "trial\n", "trial\0", "\uff54rial", "tri\u200bal"],
    "elsewhere": ["trial' or '1' eq '1", "{{ plan }}", "../trial", "@shard", "__class__", "*"],
}
BATCH = {"source": '"gateway"'}
SOURCES = ["", "A", "a b", "a_b", "a:b", "-a", "a-", "a" * 41, "a\n", "\u0430", "{{7*7}}", "a' or 1 eq 1"]
TIMES = [
    *("2026-03-01", "2026-03-01T12:00:00", "2026-02-30T12:00:00Z", "2026-03-01T25:00:00Z", "1999-03-01T12:00:00Z"),
    *("2026-03-01T12:00:00Z\n", " 2026-03-01T12:00:00Z", "2026-03-01 12:00:00Z", "2026-W09-1", "now", "1772366400"),
    *("2026-03-01T12:00:00\u0660Z", "2026-03-01T12:00:00+99:00", "{{ now }}", "9999-12-31T23:59:59-23:59"),
]
TABLES: Mapping[str, Mapping[str, list[str]]] = {
    "slug": SLUGS,
    "plan": PLAN_NAMES,
    "region": REGIONS,
    "email": EMAILS,
    "display_name": DISPLAY_NAMES,
    "version": VERSIONS,
}

# Whole bodies, and where the problem document points: "" is the body itself.
GOOD = "{" + ", ".join(f'"{name}": {value}' for name, value in SIGNUP.items()) + "}"
OPEN = GOOD.removesuffix("}")
MALFORMED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", ""),
    "blank": (b" \r\n\t ", ""),
    "null": (b"null", ""),
    "a list of one": (f"[{GOOD}]".encode(), ""),
    "pairs": (b'[["slug", "never-made"]]', ""),
    "cut off": (OPEN.encode(), ""),
    "a comma too many": (f"{OPEN},}}".encode(), ""),
    "garbage behind": (f"{GOOD}x".encode(), ""),
    "NUL behind": (f"{GOOD}\0".encode(), ""),
    "two documents": (f"{GOOD}{GOOD}".encode(), ""),
    "JSON lines": (f"{GOOD}\n{GOOD}\n".encode(), ""),
    "a comment": (f"{OPEN} /* */ }}".encode(), ""),
    "single quotes": (GOOD.replace('"', "'").encode(), ""),
    "bare names": (b"{slug: never-made}", ""),
    "YAML": (b"slug: never-made\nplan: trial\n", ""),
    "XML": (b"<slug>never-made</slug>", ""),
    "a form": (b"slug=never-made&plan=trial", ""),
    "a template": (b"{{ signup }}", ""),
    "NaN": (f'{OPEN}, "version": NaN}}'.encode(), ""),
    "Infinity": (f'{OPEN}, "version": Infinity}}'.encode(), ""),
    "-Infinity": (f'{OPEN}, "version": -Infinity}}'.encode(), ""),
    "a float without end": (f'{OPEN}, "version": 1e999}}'.encode(), "/version"),
    "negative zero": (f'{OPEN}, "version": -0}}'.encode(), "/version"),
    "a number of 5000 digits": (f'{OPEN}, "version": {"9" * 5000}}}'.encode(), ""),
    "a number of 100 digits": (f'{OPEN}, "version": {"9" * 100}}}'.encode(), "/version"),
    "an octal number": (f'{OPEN}, "version": 017}}'.encode(), ""),
    "a signed number": (f'{OPEN}, "version": +1}}'.encode(), ""),
    "a lone surrogate": (f'{OPEN}, "version": {LONE}}}'.encode(), ""),
    "a pair reversed": (f'{OPEN}, "version": {REVERSED}}}'.encode(), ""),
    "an unknown field of a lone surrogate": (OPEN.encode() + rb', "\ud800": 1}', ""),
    "a bare line end in text": (f'{OPEN}, "version": "v\n1"}}'.encode(), ""),
    "a bare NUL in text": (f'{OPEN}, "version": "v\0"}}'.encode(), ""),
    "an unknown escape": (f'{OPEN}, "version": "\\x41"}}'.encode(), ""),
    "half an escape": (f'{OPEN}, "version": "\\u00"}}'.encode(), ""),
    "a field twice": (f'{OPEN}, "slug": "never-made-2"}}'.encode(), ""),
    "a field twice, once in escapes": (f'{OPEN}, "sl\\u0075g": "never-made-2"}}'.encode(), ""),
    "an unknown field twice": (f'{OPEN}, "a": 1, "a": 1}}'.encode(), ""),
    "a field twice, further in": (f'{OPEN}, "version": {{"a": 1, "a": 2}}}}'.encode(), ""),
    "lists in lists": (f'{OPEN}, "version": {"[" * 100}{"]" * 100}}}'.encode(), "/version"),
    "lists in lists, beyond the limit": (f'{OPEN}, "version": {"[" * 900}{"]" * 900}}}'.encode(), ""),
    "lists in lists without end": (b"[" * 60_000, ""),
    "lists, deep and closed": (b"[" * 30_000 + b"]" * 30_000, ""),
    "objects in objects": (f'{OPEN}, "version": {'{"a":' * 100}1{"}" * 100}}}'.encode(), "/version"),
    "objects in objects, beyond the limit": (f'{OPEN}, "version": {'{"a":' * 900}1{"}" * 900}}}'.encode(), ""),
    "objects in objects without end": (b'{"a":' * 12_000, ""),
    "UTF-16": (GOOD.encode("utf-16"), ""),
    "UTF-16, little end first": (GOOD.encode("utf-16-le"), ""),
    "UTF-16, big end first": (GOOD.encode("utf-16-be"), ""),
    "UTF-32": (GOOD.encode("utf-32"), ""),
    "Latin-1": (f'{OPEN}, "version": "é"}}'.encode("latin-1"), ""),
    "a byte order mark": (b"\xef\xbb\xbf" + GOOD.encode(), ""),
    "a byte that UTF-8 has not": (GOOD.encode() + b"\xff", ""),
    "a slash in two bytes": (OPEN.encode() + b', "version": "\xc0\xaf"}', ""),
    "a surrogate in UTF-8": (OPEN.encode() + b', "version": "\xed\xa0\x80"}', ""),
    "beyond Unicode": (OPEN.encode() + b', "version": "\xf4\x90\x80\x80"}', ""),
    "a letter cut off": (OPEN.encode() + b', "version": "\xe2\x82"}', ""),
    "gzip unsaid": (gzip.compress(GOOD.encode()), ""),
}
UNKNOWN = {
    "Slug": "/Slug",
    "slug ": "/slug ",
    "": "/",
    "a/b~c": "/a~1b~0c",
    "__proto__": "/__proto__",
    "{{ 7*7 }}": "/{{ 7*7 }}",
    "имя": "/имя",
    "sl\0ug": "/sl\0ug",
    "\ufeffslug": "/\ufeffslug",
    "🚢": "/🚢",
}
MEDIA_TYPES = {
    "text": b"text/plain",
    "a form": b"application/x-www-form-urlencoded",
    "parts": b"multipart/form-data; boundary=x",
    "XML": b"application/xml",
    "YAML": b"application/yaml",
    "nearly": b"text/json",
    "a kind of JSON": b"application/merge-patch+json",
    "a problem": b"application/problem+json",
    "two": b"application/json, text/plain",
    "any": b"*/*",
    "none named": b"json",
    "empty": b"",
    "Unicode": "application/jsoń".encode(),
}


def words(text: str) -> list[str]:
    """Return the values in a row of a table."""
    return text.split()


def body(fields: Mapping[str, str], **changed: str) -> bytes:
    """Return a JSON object whose fields are given as JSON."""
    held = (f"{json.dumps(name)}: {raw}" for name, raw in {**fields, **changed}.items())
    return ("{" + ", ".join(held) + "}").encode()


def signups() -> Iterator[Case]:
    """Every field of POST /api/tenants."""
    for field_name, table in TABLES.items():
        for about, values in table.items():
            for value in values:
                yield _signup(
                    f"{field_name}, {about}: {value[:40]!a}", (f"/{field_name}",), **{field_name: json.dumps(value)}
                )
        for about, raw in NOT_TEXT.items():
            yield _signup(f"{field_name} is {about}", (f"/{field_name}",), **{field_name: raw})
    yield Case("no field at all", "POST", "tenants", 422, tuple(f"/{name}" for name in SIGNUP), b"{}", JSON)
    for name, pointer in UNKNOWN.items():
        yield _signup(f"the unknown field {name!a}", (pointer,), **{name: "1"})


def whole_bodies() -> Iterator[Case]:
    """Bodies that are not a JSON object, on every route that reads one."""
    for about, (content, pointer) in MALFORMED.items():
        yield Case(f"signup: {about}", "POST", "tenants", 422, (pointer,), content, JSON)
    for about in ("null", "a list of one", "NaN", "UTF-16", "a field twice", "objects in objects without end"):
        content = MALFORMED[about][0]
        yield Case(f"retry: {about}", "POST", "tenants/TENANT/retry", 422, ("",), content, JSON)
        yield Case(f"cluster: {about}", "PUT", "clusters/local", 422, ("",), content, JSON, "master")
    for about, kind in MEDIA_TYPES.items():
        yield Case(f"media type: {about}", "POST", "tenants", 415, None, GOOD.encode(), (("Content-Type", kind),))
    yield Case("no media type", "POST", "tenants", 415, None, GOOD.encode())
    twice = (*JSON, ("Content-Type", b"text/plain"))
    yield Case("two media types", "POST", "tenants", 415, None, GOOD.encode(), twice)
    yield Case("retry without media type", "POST", "tenants/TENANT/retry", 415, None, b"{}")
    yield Case("cluster without media type", "PUT", "clusters/local", 415, None, body(CLUSTER), (), "master")
    packed = {"gzip": gzip.compress(GOOD.encode()), "deflate": zlib.compress(GOOD.encode()), "br": GOOD.encode()}
    for coding, content in packed.items():
        headers = (*JSON, ("Content-Encoding", coding.encode()))
        yield Case(f"content in {coding}", "POST", "tenants", 415, None, content, headers)
    yield Case("64 KiB and one", "POST", "tenants", 413, None, GOOD.encode().ljust(64 * 1024 + 1), JSON)
    yield Case("64 KiB and one, to a cluster", "PUT", "clusters/local", 413, None, b" " * 65_537, JSON, "master")


def retries() -> Iterator[Case]:
    """Every field of POST /api/tenants/{slug}/retry."""
    for value in VERSIONS["Unicode"]:
        content = body({}, version=json.dumps(value))
        yield Case(f"version {value[:40]!a}", "POST", "tenants/TENANT/retry", 422, ("/version",), content, JSON)
    yield Case("a lone surrogate", "POST", "tenants/TENANT/retry", 422, ("",), body({}, version=LONE), JSON)


def forgets() -> Iterator[Case]:
    """The reason of POST /api/tenants/{slug}/forget."""
    reasons = {
        "empty": '""',
        "an address": '"for a@example.com"',
        "two lines": '"a\\nb"',
        "long": f'"{"x" * 501}"',
        "1": "1",
    }
    for about, reason in reasons.items():
        content = body({}, reason=reason)
        yield Case(f"reason: {about}", "POST", "tenants/TENANT/forget", 422, ("/reason",), content, JSON, "master")
    yield Case("no reason", "POST", "tenants/TENANT/forget", 422, ("/reason",), b"{}", JSON, "master")
    whole = body({}, reason='"region lost"')
    yield Case("with a function key", "POST", "tenants/TENANT/forget", 401, None, whole, JSON)
    yield Case("its cluster responds", "POST", "tenants/TENANT/forget", 409, None, whole, JSON, "master")


def policies() -> Iterator[Case]:
    """Every field of PUT /api/tenants/{slug}/policy."""
    wrong = {
        "idle_days": words('0 -1 3651 1.5 1e2 1e999 "7" true [7] {}'),
        "never_active_days": words('0 3651 "14" false'),
        "exempt": words('0 1 "true" "" [] {}'),
        "keep_awake_until": ['""', "0", "true", *(json.dumps(each) for each in TIMES)],
    }
    for name, values in wrong.items():
        for raw in values:
            content = body({}, **{name: raw})
            yield Case(f"{name} {raw[:40]}", "PUT", "tenants/TENANT/policy", 422, (f"/{name}",), content, JSON)
    yield Case("an unknown field", "PUT", "tenants/TENANT/policy", 422, ("/idle",), body({}, idle="1"), JSON)
    yield Case("nobody's", "PUT", "tenants/never-made/policy", 404, None, body({}, idle_days="1"), JSON)


def activities() -> Iterator[Case]:
    """Every field of POST /api/tenants/{slug}/activity and of POST /api/activity."""
    path = "tenants/TENANT/activity"
    for text in TIMES:
        content = body({}, at=json.dumps(text))
        yield Case(f"at {text!a}", "POST", path, 422, ("/at",), content, JSON)
        content = body(BATCH, entries=f'[{{"slug": "never-made", "at": {json.dumps(text)}}}]')
        yield Case(f"an entry's at {text!a}", "POST", "activity", 422, ("/entries/0/at",), content, JSON)
    yield Case("the future", "POST", path, 422, ("/at",), body({}, at='"2126-03-01T12:00:00Z"'), JSON)
    yield Case("nobody's", "POST", "tenants/never-made/activity", 404)
    for name in SOURCES:
        content = body({}, source=json.dumps(name))
        yield Case(f"source {name[:40]!a}", "POST", path, 422, ("/source",), content, JSON)
    whole = {
        "source": words('null "" "A" 7 ["a"]'),
        "cluster": words('"" "A" 7 "a_b"'),
        "entries": words('null {} "a" 7'),
        "watched": words('7 [] "a"'),
    }
    for name, values in whole.items():
        for raw in values:
            yield Case(f"{name} {raw}", "POST", "activity", 422, (f"/{name}",), body(BATCH, **{name: raw}), JSON)
    for raw in ("{}", '{"slug": "never-made", "namespace": "tenant-a"}', "7", '"never-made"', "null"):
        content = body(BATCH, entries=f"[{raw}]")
        yield Case(f"an entry {raw}", "POST", "activity", 422, ("/entries/0",), content, JSON)
    for namespace in ("", "default", "tenant-", "tenant-A", "tenant-a b", "../tenant-a", "tenant-a\n"):
        content = body(BATCH, cluster='"local"', entries=f'[{{"namespace": {json.dumps(namespace)}}}]')
        pointers = ("/entries/0/namespace",)
        yield Case(f"namespace {namespace!a}", "POST", "activity", 422, pointers, content, JSON)
    future = '{"since": "2026-01-01T00:00:00Z", "until": "2126-01-01T00:00:00Z"}'
    yield Case("what is to come", "POST", "activity", 422, ("/watched/until",), body(BATCH, watched=future), JSON)
    many = "[" + ", ".join(['{"slug": "never-made"}'] * 501) + "]"
    yield Case("too many entries", "POST", "activity", 422, ("/entries",), body(BATCH, entries=many), JSON)


def _signup(about: str, pointers: tuple[str, ...], **changed: str) -> Case:
    return Case(about, "POST", "tenants", 422, pointers, body(SIGNUP, **changed), JSON)
