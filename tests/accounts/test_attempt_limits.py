"""Limits on logins and registrations, counted in PostgreSQL."""

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient

from tests.conftest import MakeClient, MakeUser
from tests.support.people import PASSWORD, Person, body, make_person, nothing, problem

pytestmark = pytest.mark.usefixtures("no_attempts_yet")

LOGIN = "/api/auth/login"
REGISTER = "/api/auth/register"
RESET = "/api/auth/reset"


async def log_in(client: TestClient, name: str, password: str = "something else", address: str = "") -> ClientResponse:
    headers = {"X-Forwarded-For": address} if address else {}
    return await client.post(LOGIN, json={"login": name, "password": password}, headers=headers)


async def register(client: TestClient, **changed: Any) -> ClientResponse:
    unique = uuid4().hex[:12]
    asked = {"email": f"{unique}@example.com", "username": f"u{unique}", "password": PASSWORD, **changed}
    return await client.post(REGISTER, json=asked)


async def refused(response: ClientResponse, name: str, count: int, seconds: int) -> None:
    """Check that the limit of this name, so many in so many seconds, is what refuses."""
    await problem(response, 429, "too-many-requests")
    wait = int(response.headers["Retry-After"])
    assert 1 <= wait <= seconds
    assert response.headers["RateLimit-Policy"] == f'"{name}";q={count};w={seconds}'
    assert response.headers["RateLimit"] == f'"{name}";r=0;t={wait}'


async def test_logins_of_an_address_are_limited(make_client: MakeClient, user: Person) -> None:
    client = await make_client(rate_limits={"login": (3, 60)})
    for name in ("nobody-of-that-name", "nobody@example.com", user.username):
        await problem(await log_in(client, name), 401, "wrong-credentials")
    await refused(await log_in(client, user.username, user.password), "login", 3, 60)


async def test_successes_count_too(make_client: MakeClient, user: Person) -> None:
    client = await make_client(rate_limits={"login": (3, 60)})
    for _ in range(3):
        await body(await log_in(client, user.username, user.password))
    await refused(await log_in(client, user.username, user.password), "login", 3, 60)


async def test_logins_of_an_account_are_limited_apart(make_client: MakeClient, user: Person, make_user: MakeUser) -> None:
    client = await make_client(rate_limits={"login-account": (2, 60)})
    for _ in range(2):
        await problem(await log_in(client, user.username), 401, "wrong-credentials")
    await refused(await log_in(client, user.username, user.password), "login-account", 2, 60)
    other = await make_user()
    await body(await log_in(client, other.username, other.password))


async def test_an_account_is_the_same_in_any_case_and_whether_there_is_one_or_not(make_client: MakeClient) -> None:
    client = await make_client(rate_limits={"login-account": (2, 60)})
    await problem(await log_in(client, "nobody-of-that-name"), 401, "wrong-credentials")
    await problem(await log_in(client, "NOBODY-of-that-name"), 401, "wrong-credentials")
    await refused(await log_in(client, "Nobody-Of-That-Name"), "login-account", 2, 60)


def full_width(text: str) -> str:
    return "".join(chr(ord(letter) + 0xFEE0) if letter.isascii() and letter.isalnum() else letter for letter in text)


def spellings_of_a_name(name: str) -> list[dict[str, str]]:
    """Spell a name that begins with a "k": the first three are the same one."""
    return [
        {"login": name},
        {"login": name.upper()},
        {"username": name.title()},
        {"login": full_width(name)},
        {"login": full_width(name).upper()},
        {"login": "\N{KELVIN SIGN}" + name[1:]},
        {"username": f"{name}@example.com"},
        {"username": f"{name}@EXAMPLE.com"},
    ]


def spellings_of_an_email(name: str) -> list[dict[str, str]]:
    """Spell an address: the first six are the same one."""
    return [
        {"login": f"{name}@bücher.example"},
        {"login": f"{name}@BÜCHER.example".upper()},
        {"email": f"{name}@xn--bcher-kva.example"},
        {"login": f"{name}@{full_width('xn--bcher-kva.example')}"},
        {"email": f"{name}@bu\N{COMBINING DIAERESIS}cher\N{IDEOGRAPHIC FULL STOP}example"},
        {"email": "\N{KELVIN SIGN}" + f"{name[1:]}@{full_width('bücher')}.example"},
        {"login": f"{full_width(name)}@bücher.example"},
        {"email": f" {name}@bücher.example"},
        {"email": name},
    ]


@pytest.mark.parametrize(
    ("spell", "expected"),
    [
        (spellings_of_a_name, [401, 401, 429, 401, 401, 401, 401, 401]),
        (spellings_of_an_email, [401, 401, 429, 429, 429, 429, 401, 401, 401]),
    ],
)
async def test_limits_do_not_tell_which_names_exist(
    make_client: MakeClient, spell: Callable[[str], list[dict[str, str]]], expected: list[int]
) -> None:
    client = await make_client(rate_limits={"login-account": (2, 60)})
    known, unknown = f"k{uuid4().hex[:12]}", f"k{uuid4().hex[:12]}"
    await make_person(client, username=known, email=f"{known}@bücher.example")
    for name in (known, unknown):
        answers = [await client.post(LOGIN, json={**typed, "password": "something else"}) for typed in spell(name)]
        assert [answer.status for answer in answers] == expected, name


async def test_limits_do_not_tell_which_email_belongs_to_a_name(make_client: MakeClient, user: Person) -> None:
    client = await make_client(rate_limits={"login-account": (2, 60)})
    for _ in range(2):
        await problem(await log_in(client, user.username), 401, "wrong-credentials")
    await refused(await log_in(client, user.username), "login-account", 2, 60)
    for _ in range(2):
        await problem(await log_in(client, user.email), 401, "wrong-credentials")
    await refused(await log_in(client, user.email), "login-account", 2, 60)
    found = await user.post("/api/auth/password", json={"current_password": "wrong", "new_password": "an entirely new one"})
    await problem(found, 422, "invalid")


async def test_the_form_counts_as_json_does(make_client: MakeClient, user: Person) -> None:
    client = await make_client(rate_limits={"login-account": (2, 60)})
    for _ in range(2):
        answer = await client.post(LOGIN, data={"username": user.email.upper(), "password": "something else"})
        await problem(answer, 401, "wrong-credentials")
    await refused(await log_in(client, user.email), "login-account", 2, 60)


async def test_whoever_tries_elsewhere_locks_nobody_out(make_client: MakeClient, user: Person) -> None:
    client = await make_client(rate_limits={"login": (9, 60), "login-account": (2, 60)}, trusted_proxies=1)
    for _ in range(2):
        await problem(await log_in(client, user.username, address="192.0.2.1"), 401, "wrong-credentials")
    await refused(await log_in(client, user.username, user.password, "192.0.2.1"), "login-account", 2, 60)
    await body(await log_in(client, user.username, user.password, "192.0.2.2"))


async def test_a_window_ends(make_client: MakeClient, user: Person, sql: asyncpg.Connection) -> None:
    client = await make_client(rate_limits={"login": (1, 60)})
    await body(await log_in(client, user.username, user.password))
    await refused(await log_in(client, user.username, user.password), "login", 1, 60)
    await sql.execute("UPDATE attempts SET window_ends_at = now()")
    await body(await log_in(client, user.username, user.password))
    await refused(await log_in(client, user.username, user.password), "login", 1, 60)


async def test_waiting_is_not_made_longer_by_trying(make_client: MakeClient, sql: asyncpg.Connection) -> None:
    client = await make_client(rate_limits={"login": (1, 60)})
    await log_in(client, "nobody-of-that-name")
    end = await sql.fetchval("SELECT window_ends_at FROM attempts")
    for _ in range(3):
        await refused(await log_in(client, "nobody-of-that-name"), "login", 1, 60)
    assert await sql.fetchval("SELECT window_ends_at FROM attempts") == end


async def test_registrations_are_limited(make_client: MakeClient) -> None:
    client = await make_client(rate_limits={"registration": (2, 3600)})
    for _ in range(2):
        await body(await register(client), 201)
    await refused(await register(client), "registration", 2, 3600)


@pytest.mark.parametrize(("path", "name"), [(REGISTER, "registration"), (LOGIN, "login"), (RESET, "login")])
async def test_what_is_not_valid_is_counted_too(make_client: MakeClient, path: str, name: str) -> None:
    client = await make_client(rate_limits={name: (4, 60)})
    await problem(await client.post(path, json={}), 422, "invalid")
    await problem(await client.post(path, json={"x": 1}), 422, "invalid")
    await problem(await client.post(path, data=b"{", headers={"Content-Type": "application/json"}), 400, "malformed-json")
    await problem(await client.post(path, data=b"{", headers={"Content-Type": "text/html"}), 415, "unsupported-media-type")
    for raw in (b"{}", b"{"):
        await refused(await client.post(path, data=raw, headers={"Content-Type": "application/json"}), name, 4, 60)


async def test_what_is_no_registration_leaves_room_for_one(make_client: MakeClient) -> None:
    client = await make_client(rate_limits={"registration": (4, 3600)})
    for changed in ({"email": "nobody"}, {"username": "x"}, {"password": "password"}):
        await problem(await register(client, **changed), 422, "invalid")
    await body(await register(client), 201)
    await refused(await register(client), "registration", 4, 3600)


async def test_limits_are_apart(make_client: MakeClient) -> None:
    client = await make_client(rate_limits={"registration": (1, 3600), "login": (1, 60)})
    person = await make_person(client)
    await body(await log_in(client, person.username, person.password))
    await refused(await register(client), "registration", 1, 3600)
    await refused(await log_in(client, person.username, person.password), "login", 1, 60)


async def test_guesses_of_reset_tokens_are_limited(make_client: MakeClient) -> None:
    client = await make_client(rate_limits={"login": (2, 60)})
    asked = {"token": "nonsense", "new_password": PASSWORD}
    for _ in range(2):
        await problem(await client.post(RESET, json=asked), 422, "invalid")
    await refused(await client.post(RESET, json=asked), "login", 2, 60)


@pytest.mark.parametrize(
    ("method", "path", "more"),
    [
        ("POST", "/api/auth/password", {"new_password": "an entirely new one"}),
        ("PUT", "/api/users/profile", {"email": "new@example.com"}),
        ("DELETE", "/api/users/profile", {}),
    ],
)
async def test_guesses_of_the_current_password_are_limited(
    make_client: MakeClient, method: str, path: str, more: dict[str, str]
) -> None:
    user = await make_person(await make_client(rate_limits={"login-account": (2, 60)}))
    for _ in range(2):
        await problem(await user.call(method, path, json={"current_password": "wrong", **more}), 422, "invalid")
    response = await user.call(method, path, json={"current_password": user.password, **more})
    await refused(response, "login-account", 2, 60)


async def test_two_servers_share_one_count(make_client: MakeClient, user: Person) -> None:
    one, two = [await make_client(rate_limits={"login": (3, 60)}) for _ in range(2)]
    for client in (one, two, one):
        await body(await log_in(client, user.username, user.password))
    for client in (one, two):
        await refused(await log_in(client, user.username, user.password), "login", 3, 60)


async def test_attempts_at_once_are_counted_exactly(make_client: MakeClient, user: Person) -> None:
    rates = {"login": (7, 60), "login-account": (12, 60)}
    servers = [await make_client(rate_limits=rates) for _ in range(2)]
    answers = await asyncio.gather(*(log_in(servers[n % 2], user.username, user.password) for n in range(20)))
    assert Counter(answer.status for answer in answers) == {200: 7, 429: 13}


async def test_a_forged_address_changes_nothing_without_a_proxy(make_client: MakeClient, user: Person) -> None:
    client = await make_client(rate_limits={"login": (2, 60)})
    for number in range(2):
        await body(await log_in(client, user.username, user.password, f"192.0.2.{number}"))
    await refused(await log_in(client, user.username, user.password, "192.0.2.9"), "login", 2, 60)


async def test_a_forged_address_changes_nothing_behind_a_proxy(make_client: MakeClient, user: Person) -> None:
    client = await make_client(rate_limits={"login": (3, 60)}, trusted_proxies=1)
    for forged in ("", "192.0.2.7, ", "nonsense, 192.0.2.8,"):
        await body(await log_in(client, user.username, user.password, f"{forged}192.0.2.1"))
    await refused(await log_in(client, user.username, user.password, "192.0.2.9, 192.0.2.1"), "login", 3, 60)
    await body(await log_in(client, user.username, user.password, "192.0.2.2"))


async def test_junk_for_an_address_is_the_peers(make_client: MakeClient, user: Person) -> None:
    client = await make_client(rate_limits={"login": (3, 60)}, trusted_proxies=1)
    for junk in ("nonsense", "192.0.2.1,", "192.0.2.1, 999.1.1.1"):
        await body(await log_in(client, user.username, user.password, junk))
    await refused(await log_in(client, user.username, user.password), "login", 3, 60)


async def test_ipv6_is_counted_by_its_64_bits_of_network(make_client: MakeClient, user: Person) -> None:
    client = await make_client(rate_limits={"login": (3, 60)}, trusted_proxies=1)
    for host in ("::1", "ffff::1", "1:2:3:4"):
        await body(await log_in(client, user.username, user.password, f"2001:db8:1:2:{host}".replace(":::", "::")))
    await refused(await log_in(client, user.username, user.password, "2001:DB8:1:2::9"), "login", 3, 60)
    await body(await log_in(client, user.username, user.password, "2001:db8:1:3::1"))


async def test_a_wide_network_of_ipv6_is_counted_too(make_client: MakeClient, user: Person) -> None:
    client = await make_client(rate_limits={"login": (1, 60)}, trusted_proxies=1)
    for network in range(10):
        await body(await log_in(client, user.username, user.password, f"2001:db8:1:{network:x}::1"))
        # What is refused does not count against the neighbours.
        await refused(await log_in(client, user.username, user.password, f"2001:db8:1:{network:x}::2"), "login", 1, 60)
    await refused(await log_in(client, user.username, user.password, "2001:db8:1:ffff::1"), "login", 1, 60)
    await body(await log_in(client, user.username, user.password, "2001:db8:2::1"))


async def test_an_ipv4_address_in_ipv6_is_the_same_one(make_client: MakeClient, user: Person) -> None:
    client = await make_client(rate_limits={"login": (1, 60)}, trusted_proxies=1)
    await body(await log_in(client, user.username, user.password, "192.0.2.1"))
    await refused(await log_in(client, user.username, user.password, "::ffff:192.0.2.1"), "login", 1, 60)
    await body(await log_in(client, user.username, user.password, "::ffff:192.0.2.2"))


async def test_neither_names_nor_addresses_are_kept(make_client: MakeClient, sql: asyncpg.Connection) -> None:
    client = await make_client(rate_limits={"login": (9, 60), "login-account": (9, 60), "registration": (9, 60)})
    user = await make_person(client)
    await body(await log_in(client, user.email, user.password))
    keys = [row["key"] for row in await sql.fetch("SELECT key FROM attempts")]
    assert sorted(key.partition(":")[0] for key in keys) == ["login", "login-account", "registration"]
    assert all(re.fullmatch(r"[a-z-]+:[0-9a-f]{32}", key) for key in keys)


async def test_without_limits_nothing_is_counted(client: TestClient, user: Person, sql: asyncpg.Connection) -> None:
    for _ in range(12):
        await problem(await log_in(client, user.username), 401, "wrong-credentials")
    assert await sql.fetchval("SELECT count(*) FROM attempts") == 0


async def test_a_refused_login_costs_no_session(make_client: MakeClient, user: Person, sql: asyncpg.Connection) -> None:
    client = await make_client(rate_limits={"login": (1, 60)})
    await body(await log_in(client, user.username, user.password))
    await refused(await log_in(client, user.username, user.password), "login", 1, 60)
    assert await sql.fetchval("SELECT count(*) FROM sessions WHERE user_id = $1", user.id) == 2


async def test_a_session_goes_on_while_logins_are_refused(make_client: MakeClient) -> None:
    client = await make_client(rate_limits={"login": (1, 60)})
    user = await make_person(client)
    for _ in range(2):
        response = await log_in(client, user.username)
    await refused(response, "login", 1, 60)
    await body(await user.get("/api/auth/me"))
    await nothing(await user.post("/api/auth/logout"))
