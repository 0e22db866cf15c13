"""Bearer tokens: what is none is 401, whatever its bytes, and asks no database."""

import asyncio
import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import jwt
import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient

from fw.accounts.tokens import LEEWAY_SECONDS
from tests.conftest import SECRET, MakeClient, MakeUser
from tests.support.people import Person, body, make_person, nothing, problem

PATH = "/api/auth/me"
OTHER = "another secret, also of 32 bytes and more"
NOWHERE = "postgresql://nobody@127.0.0.1:1/nowhere"
CLAIMS = ("iss", "aud", "sub", "jti", "iat", "exp")

Forge = Callable[[dict[str, Any]], str]


def claims_of(token: str) -> dict[str, Any]:
    return dict(jwt.decode(token, options={"verify_signature": False}))


def sign(claims: dict[str, Any], **changed: Any) -> str:
    """Sign with the real secret: only what is in the token is wrong."""
    return jwt.encode({**claims, **changed}, SECRET, "HS256")


def sign_raw(claims: Any) -> str:
    """Sign what the library would not make a token of."""
    return jwt.PyJWS().encode(json.dumps(claims).encode(), SECRET, "HS256")


def unsigned(header: Any, payload: Any, signature: bytes = b"") -> str:
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (*parts, signature))


def ago(**time: float) -> int:
    return int((datetime.now(UTC) - timedelta(**time)).timestamp())


FORGERIES: dict[str, Forge] = {
    "none": lambda claims: jwt.encode(claims, None, "none"),
    "none, in other cases": lambda claims: unsigned({"alg": "nOnE", "typ": "JWT"}, claims),
    "none, with a signature": lambda claims: unsigned({"alg": "none"}, claims, b"x" * 32),
    "no algorithm": lambda claims: unsigned({"typ": "JWT"}, claims, b"x" * 32),
    "a list of algorithms": lambda claims: unsigned({"alg": ["HS256"]}, claims, b"x" * 32),
    "HS384": lambda claims: jwt.encode(claims, SECRET + SECRET, "HS384"),
    "HS512, with the real secret": lambda claims: jwt.encode(claims, SECRET, "HS512"),
    "crit": lambda claims: jwt.encode(claims, SECRET, "HS256", headers={"crit": ["exp"]}),
    "crit of something unknown": lambda claims: jwt.encode(claims, SECRET, "HS256", headers={"crit": ["x"], "x": 1}),
    "detached": lambda claims: unsigned({"alg": "HS256", "b64": False, "crit": ["b64"]}, b"", b"x" * 32),
    "another secret": lambda claims: jwt.encode(claims, OTHER, "HS256"),
    "no signature": lambda claims: sign(claims).rpartition(".")[0] + ".",
    "a cut signature": lambda claims: sign(claims)[:-2],
    "a changed payload": lambda claims: swap_payload(sign(claims), {**claims, "sub": str(uuid4())}),
    "a scope without a signature": lambda claims: swap_payload(sign(claims), {**claims, "scope": "billing"}),
    "expired": lambda claims: sign(claims, exp=ago(seconds=1)),
    "issued by a clock too far ahead": lambda claims: sign(claims, iat=ago(seconds=-LEEWAY_SECONDS - 30)),
    "expired, within the leeway of its beginning": lambda claims: sign(claims, iat=ago(seconds=-30), exp=ago()),
    "issued in the future": lambda claims: sign(claims, iat=ago(hours=-1)),
    "not valid yet": lambda claims: sign(claims, nbf=ago(hours=-1)),
    "another audience": lambda claims: sign(claims, aud="somebody-else"),
    "a list of audiences": lambda claims: sign(claims, aud=[claims["aud"]]),
    "another issuer": lambda claims: sign(claims, iss="somebody-else"),
    "a list of issuers": lambda claims: sign_raw({**claims, "iss": [claims["iss"]]}),
    "no time as its end": lambda claims: sign(claims, exp="tomorrow"),
    "no time as its beginning": lambda claims: sign(claims, iat="yesterday"),
    "no id as its subject": lambda claims: sign(claims, sub="ann"),
    "a number as its subject": lambda claims: sign(claims, sub=1),
    "no subject at all": lambda claims: sign(claims, sub=None),
    "no id as its session": lambda claims: sign(claims, jti="x"),
    "a NUL in its session": lambda claims: sign(claims, jti=claims["jti"][:-1] + "\0"),
    "a surrogate in its session": lambda claims: sign(claims, jti=claims["jti"][:-1] + "\ud800"),
    "a number as its session": lambda claims: sign(claims, jti=1),
    "a scope of its own making": lambda claims: sign(claims, scope="billing"),
    "a list of scopes": lambda claims: sign(claims, scope=["billing"]),
    "null as its scope": lambda claims: sign(claims, scope=None),
    "a list as its payload": lambda _: sign_raw([1]),
    "endless as its end": lambda claims: sign_raw({**claims, "exp": float("inf")}),
    "no number as its end": lambda claims: sign_raw({**claims, "exp": float("nan")}),
    "a list as its header": lambda claims: unsigned([1], claims, b"x" * 32),
    "a deep header": lambda claims: unsigned(b"[" * 4000, {}, b"x" * 32),
    "a long number in its header": lambda claims: unsigned(b'{"alg":"HS256","x":' + b"1" * 5000 + b"}", {}, b"x" * 32),
    "a lone surrogate in its header": lambda claims: unsigned(b'{"alg":"\\ud800"}', claims, b"x" * 32),
    "a number as its key's id": lambda claims: unsigned({"alg": "HS256", "kid": 1}, claims, b"x" * 32),
    **{
        f"without {name}": lambda claims, name=name: sign({key: claims[key] for key in CLAIMS if key != name})
        for name in CLAIMS
    },
}

GARBAGE = [
    *("", " ", "x", ".", "..", "...", "a.b", "a.b.c", "a.b.c.d", "e30.e30.", "=.=.=", "null", "undefined", "{}"),
    *("x" * 7000, "." * 7000, "%00", "\\u0000", "a,b", "a b c", "Bearer", "'; DROP TABLE users; --"),
]
BYTES = [
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\xc3\xbc.\xc3\xbc.\xc3\xbc",
    "🔑.🔑.🔑".encode(),
    b"\x80" * 1000,
    "eyJ.é.é".encode("latin-1"),
]


def swap_payload(token: str, claims: dict[str, Any]) -> str:
    header, _, signature = token.split(".")
    return f"{header}.{unsigned(claims, {}).split('.')[0]}.{signature}"


async def show(client: TestClient, authorization: str | None) -> ClientResponse:
    return await client.get(PATH, headers={} if authorization is None else {"Authorization": authorization})


async def refused(response: ClientResponse) -> None:
    await problem(response, 401, "unauthorized")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


async def exchange(client: TestClient, authorization: bytes) -> bytes:
    """Send bytes that no client library would, and return the answer."""
    reader, writer = await asyncio.open_connection(client.host, client.port)
    try:
        head = b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: %s\r\n\r\n"
        writer.write(head % (PATH.encode(), authorization))
        return await asyncio.wait_for(reader.read(), 30)
    finally:
        writer.close()
        await writer.wait_closed()


async def test_the_claims_are_those_that_are_promised(user: Person) -> None:
    claims = claims_of(user.token)
    assert set(claims) == set(CLAIMS)
    assert claims["sub"] == user.id
    assert claims["exp"] - claims["iat"] == 86400
    assert jwt.get_unverified_header(user.token) == {"alg": "HS256", "typ": "JWT"}


async def test_what_is_signed_alike_is_taken(user: Person) -> None:
    await body(await show(user.client, f"Bearer {sign(claims_of(user.token))}"))


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_forgeries_are_refused(make_client: MakeClient, user: Person) -> None:
    rotated = await make_client(jwt_secrets=(OTHER, SECRET))
    claims = claims_of(user.token)
    for name, forge in FORGERIES.items():
        token = forge(claims)
        statuses = [(await show(client, f"Bearer {token}")).status for client in (user.client, rotated)]
        assert statuses == [401, 200 if name == "another secret" else 401], name
        await refused(await show(user.client, f"Bearer {token}"))


async def test_forgeries_and_garbage_ask_no_database(make_client: MakeClient, user: Person) -> None:
    client = await make_client(database_url=NOWHERE)
    claims = claims_of(user.token)
    tokens = [*GARBAGE, *(FORGERIES[name](claims) for name in ("none", "another secret", "expired", "crit", "without exp"))]
    for token in tokens:
        await refused(await show(client, f"Bearer {token}"))
    for token_bytes in BYTES:
        assert (await exchange(client, b"Bearer " + token_bytes)).startswith(b"HTTP/1.1 401 ")
    await problem(await show(client, f"Bearer {user.token}"), 503, "unavailable")


async def test_a_token_of_a_host_whose_clock_is_ahead_is_good(user: Person) -> None:
    for seconds in (2, LEEWAY_SECONDS / 2):
        token = sign(claims_of(user.token), iat=ago(seconds=-seconds))
        await body(await show(user.client, f"Bearer {token}"))


async def test_bytes_that_are_no_ascii_are_refused(client: TestClient) -> None:
    for authorization in (*BYTES, *(b"Bearer " + token for token in BYTES)):
        answer = await exchange(client, authorization)
        head, _, found = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 401 "), answer
        assert b"\r\nWWW-Authenticate: Bearer" in head
        assert json.loads(found)["type"] == "/problems/unauthorized"


async def test_other_schemes_are_refused(user: Person) -> None:
    for scheme in ("", "Basic", "Token", "Bearer:", "Bear", "Digest"):
        await refused(await show(user.client, f"{scheme} {user.token}"))


async def test_no_token_is_refused(client: TestClient) -> None:
    await refused(await show(client, None))


async def test_the_scheme_is_taken_in_any_case(user: Person) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        await body(await show(user.client, f"{scheme}  {user.token} "))


async def test_somebody_elses_session_is_refused(user: Person, make_user: MakeUser) -> None:
    other = await make_user()
    mixed = sign(claims_of(user.token), sub=other.id)
    await refused(await show(user.client, f"Bearer {mixed}"))


async def test_a_session_that_never_was_is_refused(user: Person) -> None:
    await refused(await show(user.client, f"Bearer {sign(claims_of(user.token), jti=str(uuid4()))}"))


async def test_a_session_of_a_user_is_no_service(user: Person) -> None:
    service = sign(claims_of(user.token), sub="billing", scope="billing")
    asked = {"username": user.username, "is_premium": True}
    headers = {"Authorization": f"Bearer {service}"}
    await refused(await user.client.patch("/api/users/premium", json=asked, headers=headers))


async def test_a_deleted_users_token_is_refused(user: Person) -> None:
    await nothing(await user.delete("/api/users/profile", json={"current_password": user.password}))
    await refused(await user.get(PATH))


async def test_a_token_of_a_user_deleted_by_hand_is_refused(user: Person, sql: asyncpg.Connection) -> None:
    await sql.execute("DELETE FROM users WHERE id = $1", user.id)
    await refused(await user.get(PATH))


async def test_an_ended_session_is_refused(user: Person, sql: asyncpg.Connection) -> None:
    await sql.execute("UPDATE sessions SET expires_at = now() WHERE user_id = $1", user.id)
    await refused(await user.get(PATH))


async def test_a_token_is_refused_while_it_cannot_be_looked_up(make_client: MakeClient, user: Person) -> None:
    response = await show(await make_client(database_url=NOWHERE), f"Bearer {user.token}")
    await problem(response, 503, "unavailable")
    assert int(response.headers["Retry-After"]) > 0


async def test_a_secret_is_changed_without_logging_anyone_out(make_client: MakeClient, user: Person) -> None:
    both = await make_client(jwt_secrets=(OTHER, SECRET))
    await body(await show(both, f"Bearer {user.token}"))
    newcomer = await make_person(both)
    jwt.decode(newcomer.token, OTHER, ["HS256"], audience=claims_of(newcomer.token)["aud"])
    await body(await newcomer.get(PATH))


async def test_a_secret_that_is_gone_signs_nothing(make_client: MakeClient, user: Person) -> None:
    new = await make_client(jwt_secrets=(OTHER,))
    newcomer = await make_person(new)
    await refused(await show(new, f"Bearer {user.token}"))
    await refused(await show(user.client, f"Bearer {newcomer.token}"))
