"""Any text and any body: taken and given back exactly, or refused with a reason, never a 500."""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import uuid4

import pytest
from aiohttp.test_utils import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fw.accounts.fields import RESERVED, USERNAME
from fw.accounts.passwords import common_passwords
from tests.conftest import MakeClient
from tests.support.people import PASSWORD, Person, body, make_person, problem

pytestmark = pytest.mark.slow

T = TypeVar("T")

NOWHERE = "postgresql://nobody@127.0.0.1:1/nowhere"

# What has ended in trouble elsewhere: NUL, surrogates, marks that combine, cases that change the length, odd white space,
# what SQL, regular expressions and formats take for themselves, and what is no character.
ODD = st.sampled_from(
    [*"\0\ud800\udfff\r\n\t\x1c\x85\u00a0\u200b\u2028\u202e\ufeff\ufffe\uffff🔑İıßſΣςǅﬁ\u0301'\"\\%_*+?.^$()[]{}|-<>&;:/#@ "]
)
ANY_TEXT = st.text(st.characters() | ODD, max_size=40)
SAFE_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
NUMBERS = st.integers(-(10**40), 10**40) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | SAFE_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SAFE_TEXT, inner, max_size=3),
    max_leaves=8,
)

BODIES = {
    "empty": b"",
    "white space": b" \n",
    "not JSON": b"{message: 'x'}",
    "half of it": b'{"message": "x',
    "two of it": b'{"message": "x"}{}',
    "a comma too many": b'{"message": "x",}',
    "a comment": b'{"message": "x" /* y */}',
    "an array": b'[{"message": "x"}]',
    "a string": b'"message"',
    "a number": b"1",
    "null": b"null",
    "true": b"true",
    "NaN": b'{"message": NaN}',
    "Infinity": b'{"message": Infinity}',
    "-Infinity": b'{"message": -Infinity}',
    "1e999": b'{"message": 1e999}',
    "-1E+400": b'{"message": -1E+400}',
    "5,000 digits": b'{"message": ' + b"9" * 5000 + b"}",
    "10,000 levels of arrays": b'{"message": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "10,000 levels of objects": b'{"message": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}",
    "60,000 levels, none closed": b"[" * 60_000,
    "Latin-1": '{"message": "ü"}'.encode("latin-1"),
    "UTF-16": '{"message": "x"}'.encode("utf-16"),
    "UTF-32": '{"message": "x"}'.encode("utf-32"),
    "a mark of the byte order": b'\xef\xbb\xbf{"message": "x"}',
    "half a character": b'{"message": "\xf0\x9f\x94"}',
    "a surrogate in bytes": b'{"message": "\xed\xa0\x80"}',
    "an overlong NUL": b'{"message": "\xc0\x80"}',
    "a bare NUL": b'{"message": "\0"}',
    "a bare line feed": b'{"message": "\n"}',
    "an escape too short": b'{"message": "\\u12"}',
    "an escape of nothing": b'{"message": "\\x41"}',
    "a leading zero": b'{"message": 01}',
    "a hexadecimal number": b'{"message": 0x41}',
    "random bytes": bytes(range(256)),
}


async def for_any(strategy: st.SearchStrategy[T], check: Callable[[T], Awaitable[None]], *, examples: int = 40) -> None:
    """Check that something holds for any example: Hypothesis makes them all, and then they are checked on this loop."""
    made: list[T] = []

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(strategy)
    def make(example: T) -> None:
        made.append(example)

    make()
    for example in made:
        try:
            async with asyncio.timeout(30):
                await check(example)
        except BaseException as error:
            error.add_note(f"for the example {example!r}")
            raise


def arriving(text: str) -> str:
    """Return the text as JSON carries it: two surrogates in a row are one character there."""
    return str(json.loads(json.dumps(text)))


def is_storable(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def as_sent(sent: Any, found: Any) -> bool:
    """Tell whether JSON came back as it was; a number may have changed its spelling (1e2, 100) but not its value."""
    if isinstance(sent, dict):
        return isinstance(found, dict) and sent.keys() == found.keys() and all(as_sent(sent[key], found[key]) for key in sent)
    if isinstance(sent, list):
        return isinstance(found, list) and len(sent) == len(found) and all(map(as_sent, sent, found))
    if isinstance(sent, float):
        return isinstance(found, int | float) and float(found) == sent
    return type(sent) is type(found) and sent == found


async def send(client: TestClient, path: str, raw: bytes, method: str = "POST", **headers: str) -> Any:
    return await client.request(method, path, data=raw, headers={"Content-Type": "application/json", **headers})


def other_case(character: str) -> str:
    """Return a letter's other case, where that is one letter too."""
    swapped = character.swapcase()
    return swapped if swapped.casefold() == character.casefold() and len(swapped) == 1 else character


async def newest(user: Person) -> Any:
    return (await user.inbox(limit=1))["items"][0]


async def test_any_text_as_message(user: Person) -> None:
    async def holds(text: str) -> None:
        text = arriving(text)
        response = await user.client.post(f"/api/feedback/{user.username}", json={"message": text})
        if is_storable(text) and text.strip():
            await body(response, 201)
            assert (await newest(user))["message"] == text.strip()
        else:
            assert list((await problem(response, 422, "invalid"))["errors"]) == ["message"]

    await for_any(ANY_TEXT, holds)


async def test_the_longest_message_and_one_longer(user: Person) -> None:
    for text in ("x" * 5000, "🔑" * 5000, f" {'ü' * 5000}\n"):
        await user.receive(text)
        assert (await newest(user))["message"] == text.strip()
    for text in ("x" * 5001, "🔑" * 5001, "", " \n\u3000"):
        response = await user.client.post(f"/api/feedback/{user.username}", json={"message": text})
        assert list((await problem(response, 422, "invalid"))["errors"]) == ["message"]


async def test_any_text_as_password(client: TestClient) -> None:
    async def holds(text: str) -> None:
        password, unique = arriving(text), uuid4().hex[:12]
        asked = {"email": f"{unique}@example.com", "username": f"u{unique}", "password": password}
        response = await client.post("/api/auth/register", json=asked)
        if response.status == 422:
            assert list((await problem(response, 422, "invalid"))["errors"]) == ["password"]
            assert not is_storable(password) or len(password) < 8 or password.lower() in common_passwords()
            return
        await body(response, 201)
        login = {"login": unique + "@example.com", "password": password}
        await body(await client.post("/api/auth/login", json=login))
        other = password[:-1] + ("x" if password[-1] != "x" else "y")
        await problem(await client.post("/api/auth/login", json={**login, "password": other}), 401, "wrong-credentials")

    await for_any(st.text(st.characters() | ODD, min_size=6, max_size=256), holds, examples=25)


async def test_any_text_as_username(client: TestClient) -> None:
    numbers = itertools.count()
    taken: set[str] = set()
    unique = uuid4().hex[:12]

    async def holds(text: str) -> None:
        name = arriving(text)
        asked = {"email": f"{unique}.{next(numbers)}@example.com", "username": name, "password": PASSWORD}
        response = await client.post("/api/auth/register", json=asked)
        if response.status == 422:
            await problem(response, 422, "invalid")
            assert not USERNAME.fullmatch(name) or name.lower() in RESERVED
        elif name.lower() in taken:
            await problem(response, 409, "username-taken")
        else:
            assert (await body(response, 201))["user"]["username"] == name
            assert (await body(await client.get(f"/api/users/{name.upper()}")))["username"] == name
            taken.add(name.lower())

    await for_any(ANY_TEXT | st.text("aZ09_-", min_size=13, max_size=31), holds)


async def test_any_text_as_email(client: TestClient) -> None:
    async def holds(text: str) -> None:
        email, unique = arriving(text), uuid4().hex[:12]
        asked = {"email": email, "username": f"u{unique}", "password": PASSWORD}
        response = await client.post("/api/auth/register", json=asked)
        if response.status == 422:
            assert list((await problem(response, 422, "invalid"))["errors"]) == ["email"]
        elif response.status == 409:
            await problem(response, 409, "email-taken")
        else:
            kept = (await body(response, 201))["user"]["email"]
            await body(await client.post("/api/auth/login", json={"email": kept, "password": PASSWORD}))

    local = st.text(st.characters(codec="utf-8") | ODD, min_size=1, max_size=12)
    domain = st.sampled_from(
        ["example.com", "EXAMPLE.com", "bücher.example", "xn--bcher-kva.example", "例え.example", "xn--.example"]
    )
    addresses = st.builds("{}@{}".format, local, domain | ANY_TEXT)
    await for_any(ANY_TEXT | st.emails() | addresses, holds, examples=30)


async def test_any_text_as_profile_image(user: Person) -> None:
    async def holds(text: str) -> None:
        image = arriving(text)
        response = await user.put("/api/users/profile", json={"profile_image": image})
        if response.status == 422:
            assert list((await problem(response, 422, "invalid"))["errors"]) == ["profile_image"]
        else:
            assert (await body(response))["profile_image"] == image
            assert (await body(await user.client.get(f"/api/users/{user.username}")))["profile_image"] == image
            assert image.lower().startswith("https://")
            assert is_storable(image)

    await for_any(st.builds("{}{}".format, st.sampled_from(["", "https://", "https://example.com/"]), ANY_TEXT), holds)


async def test_any_json_as_metadata(user: Person) -> None:
    async def holds(metadata: dict[str, Any]) -> None:
        metadata.pop("rating", None)
        response = await user.client.post(f"/api/feedback/{user.username}", json={"message": "x", "metadata": metadata})
        if response.status == 422:
            assert list((await problem(response, 422, "invalid"))["errors"]) == ["metadata"]
            assert levels(metadata) > 5 or len(json.dumps(metadata, ensure_ascii=False).encode()) > 4096
        else:
            await body(response, 201)
            assert as_sent(metadata, (await newest(user))["metadata"])

    await for_any(st.dictionaries(SAFE_TEXT, VALUES, max_size=4), holds)


def levels(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(levels, value.values() if isinstance(value, dict) else value), default=0)


async def test_text_in_metadata_that_cannot_be_stored_is_refused(user: Person) -> None:
    for text in ("\0", "a\0b", "\ud800", "\udfff", "\udfff\ud800"):
        for metadata in ({"a": text}, {text: "a"}, {"a": [text]}, {"a": {text: 1}}, {"a": [{"b": [text]}]}):
            response = await user.client.post(f"/api/feedback/{user.username}", json={"message": "x", "metadata": metadata})
            assert list((await problem(response, 422, "invalid"))["errors"]) == ["metadata"]


async def test_numbers_in_metadata_come_back_exactly(user: Person) -> None:
    numbers = ["9" * 308, "-" + "9" * 308, "0.1", "1e308", "-1.7976931348623157e308", "5e-324", "1e-999", "0", "-0", "-0.0"]
    for text in (*numbers, "123456789012345678901234567890", "9007199254740993", "1E2"):
        raw = b'{"message": "x", "metadata": {"n": %s}}' % text.encode()
        await body(await send(user.client, f"/api/feedback/{user.username}", raw), 201)
        assert as_sent(json.loads(text), (await newest(user))["metadata"]["n"]), text


async def test_any_text_is_searched_for(user: Person) -> None:
    async def holds(text: str) -> None:
        text = arriving(text)
        if not is_storable(text):
            return
        sent = f"begin {text} end"
        feedback_id = await user.receive(sent)
        for query in (text, sent, "".join(map(other_case, sent))):
            found = [item["id"] for item in (await user.inbox(q=query))["items"]]
            assert feedback_id in found, query

    await for_any(ANY_TEXT, holds, examples=25)


async def test_the_longest_search_and_one_longer(user: Person) -> None:
    for character in "x🔑ΐß\u0345ʼn.(":
        feedback_id = await user.receive(character * 200 + "!")
        found = await user.inbox(q=character * 200)
        assert feedback_id in [item["id"] for item in found["items"]], character
    await problem(await user.get("/api/feedback", params={"q": "x" * 201}), 422, "invalid")


async def test_any_bytes_as_a_parameter_or_in_a_path(user: Person) -> None:
    async def holds(raw: bytes) -> None:
        text = quote(raw, safe="")
        for path in (f"/api/feedback?q={text}", f"/api/feedback?after={text}", f"/api/feedback?from={text}&limit={text}"):
            assert (await user.get(path)).status in (200, 422), path
        for path in (f"/api/users/{text}", f"/api/feedback/{text}", f"/{text}", f"/api/widgets/{text}/config"):
            assert (await user.get(path)).status in (200, 404), path

    await for_any(
        st.binary(min_size=1, max_size=12) | ANY_TEXT.map(lambda text: b"x" + text.encode("utf-8", "surrogatepass")),
        holds,
        examples=20,
    )


async def test_bytes_that_are_no_text_in_a_search_are_refused_or_find_nothing(user: Person) -> None:
    await user.receive()
    for raw in ("%00", "%ED%A0%80", "%FF", "%C0%80", "a%00b"):
        response = await user.get(f"/api/feedback?q={raw}")
        assert response.status == 422 or not (await body(response))["items"], raw


async def test_malformed_bodies_are_refused_everywhere_and_ask_no_database(make_client: MakeClient) -> None:
    client = await make_client(database_url=NOWHERE)
    for name, raw in BODIES.items():
        for path in (
            *(f"/api/auth/{name}" for name in ("register", "login", "forgot", "reset", "verify")),
            "/api/feedback/anybody",
        ):
            response = await send(client, path, raw)
            assert response.status == 400, (name, path, await response.text())
            await problem(response, 400, "malformed-json")


async def test_malformed_bodies_are_refused_of_those_with_a_token_too(user: Person) -> None:
    paths = ["PUT /api/users/profile", "DELETE /api/users/profile", "PATCH /api/users/premium", "POST /api/auth/password"]
    paths += ["POST /api/feedback/read", "POST /api/widgets"]
    for name in ("not JSON", "an array", "NaN", "1e999", "5,000 digits", "60,000 levels, none closed", "Latin-1"):
        for method, path in (line.split() for line in paths):
            response = await send(user.client, path, BODIES[name], method, **user.headers)
            await problem(response, 400, "malformed-json")
    await body(await user.get("/api/auth/me"))


async def test_100000_levels_are_refused(client: TestClient) -> None:
    response = await send(client, "/api/auth/login", b"[" * 100_000)
    assert response.status in (400, 413), await response.text()


async def test_fields_of_the_wrong_kind_are_refused_and_ask_no_database(make_client: MakeClient) -> None:
    client = await make_client(database_url=NOWHERE)
    kinds: tuple[Any, ...] = (None, True, 1, 1.5, 10**400, [], [[]], {}, {"a": 1}, "a\0b", "\ud800")
    calls = {
        "/api/auth/register": ("email", "username", "password", "profile_image"),
        "/api/auth/login": ("login", "password"),
        "/api/auth/forgot": ("email",),
        "/api/auth/reset": ("token", "new_password"),
        "/api/auth/verify": ("token",),
        "/api/feedback/anybody": ("message", "metadata"),
    }
    allowed = [("profile_image", None), ("metadata", None), ("metadata", {}), ("metadata", {"a": 1})]
    good = {"email": "a@example.com", "username": "anybody", "login": "anybody", "token": "x", "message": "x"}
    for path, fields in calls.items():
        whole = {field: good.get(field, PASSWORD) for field in fields if field not in ("profile_image", "metadata")}
        for field, value in itertools.product(fields, kinds):
            if (field, value) not in allowed:
                found = await problem(await client.post(path, json={**whole, field: value}), 422, "invalid")
                assert list(found["errors"]) == [field], (path, value)


async def test_unknown_fields_are_refused_whatever_their_name(client: TestClient) -> None:
    for name in ("", "x", "\0", "\ud800", "🔑", "__class__", "x" * 5000, "errors"):
        found = await problem(await client.post("/api/feedback/anybody", json={"message": "x", name: 1}), 422, "invalid")
        assert len(found["errors"]) == 1


async def test_of_a_key_that_comes_twice_the_last_counts(user: Person) -> None:
    raw = b'{"message": "first", "message": "last", "metadata": {"a": 1, "a": 2}}'
    await body(await send(user.client, f"/api/feedback/{user.username}", raw), 201)
    found = await newest(user)
    assert (found["message"], found["metadata"]) == ("last", {"a": 2})


async def test_text_that_looks_like_sql_or_html_is_text(client: TestClient) -> None:
    user = await make_person(client, password="'; DROP TABLE users; --")
    for text in (
        "'; DROP TABLE feedback; --",
        "$1",
        "%s",
        "{feedback}",
        "<script>alert(1)</script>",
        "&amp;",
        "\\x00",
        "E'\\n'",
    ):
        await user.receive(text, metadata={text: text})
        found = await newest(user)
        assert (found["message"], found["metadata"]) == (text, {text: text})
