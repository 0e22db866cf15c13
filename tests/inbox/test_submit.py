"""POST /api/feedback/{username}."""

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient

from tests.conftest import MakeClient, MakeUser
from tests.support.ages import grow_older
from tests.support.people import Person, body, problem

LEVELS = 5
NOTHING: dict[str, str] = {}


async def send(
    client: TestClient, person: Person, message: str = "Well done!", headers: dict[str, str] = NOTHING, **fields: Any
) -> ClientResponse:
    return await client.post(f"/api/feedback/{person.username}", json={"message": message, **fields}, headers=headers)


async def send_raw(client: TestClient, person: Person, raw: bytes | str) -> ClientResponse:
    return await client.post(f"/api/feedback/{person.username}", data=raw, headers={"Content-Type": "application/json"})


async def repeat(client: TestClient, person: Person, key: str, message: str = "Well done!", **fields: Any) -> ClientResponse:
    return await send(client, person, message, {"Idempotency-Key": key}, **fields)


async def received(person: Person) -> list[dict[str, Any]]:
    """Return all that the person has got, oldest first."""
    return list((await person.inbox(order="oldest", limit=100))["items"])


async def address(person: Person, client: TestClient, *forwarded: str) -> str | None:
    """Return the address kept of somebody who sends through these proxies, a header line each."""
    headers = [("X-Forwarded-For", line) for line in forwarded]
    response = await client.post(f"/api/feedback/{person.username}", json={"message": "Hello"}, headers=headers)
    sent = await body(response, 201)
    kept: str | None = (await body(await person.get(f"/api/feedback/{sent['id']}")))["ip_address"]
    return kept


def nested(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def of_bytes(count: int, filler: str = "x") -> dict[str, str]:
    """Make metadata of this many bytes as JSON."""
    return {"a": filler * ((count - len('{"a":""}')) // len(filler.encode()))}


async def test_stores_a_message(user: Person, client: TestClient) -> None:
    answer = await body(await send(client, user, "Great work!", metadata={"page": "/pricing"}), 201)
    assert set(answer) == {"id", "created_at"}
    assert UUID(answer["id"]).version == 7
    [item] = await received(user)
    assert item == {
        "id": answer["id"],
        "user_id": user.id,
        "message": "Great work!",
        "created_at": answer["created_at"],
        "is_read": False,
        "ip_address": "127.0.0.0",
        "metadata": {"page": "/pricing"},
        "widget_id": None,
        "cursor": 1,
    }


async def test_tells_when_in_utc(user: Person, client: TestClient) -> None:
    answer = await body(await send(client, user), 201)
    assert answer["created_at"].endswith("Z")


async def test_counts_the_message(user: Person) -> None:
    await user.receive()
    await user.receive()
    inbox = await user.inbox()
    assert (inbox["total_count"], inbox["unread_count"], inbox["cursor"]) == (2, 2, 2)


@pytest.mark.parametrize("change", [str.upper, str.lower, str.title])
async def test_finds_the_username_in_any_case(client: TestClient, make_user: MakeUser, user: Person, change: Any) -> None:
    named = await make_user(username=f"Mixed_{user.username}")
    await body(await client.post(f"/api/feedback/{change(named.username)}", json={"message": "Hello"}), 201)
    assert len(await received(named)) == 1


NOBODY = ["nobody-of-this-name", "ab", "x" * 31, "-begins-so", "admin", "%00%00%00", "%C3%BCber", "a b c"]


async def test_knows_no_such_user(client: TestClient) -> None:
    for name in NOBODY:
        await problem(await client.post(f"/api/feedback/{name}", json={"message": "Hello"}), 404, "not-found")


async def test_reaches_nobody_under_an_id(client: TestClient, user: Person) -> None:
    await problem(await client.post(f"/api/feedback/{user.id}", json={"message": "Hello"}), 404, "not-found")


NO_OBJECTS = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"Hello"',
    b'{"message": "Hello"} {}',
    b'{"message": "\xff"}',
    '{"message": "Hello"}'.encode("utf-16"),
    b'{"message": "Hello", "metadata": {"a": NaN}}',
    b'{"message": "Hello", "metadata": {"a": -Infinity}}',
    b'{"message": "Hello", "metadata": {"a": 1e999}}',
    b'{"message": "Hello", "metadata": {"a": ' + b"1" * 5000 + b"}}",
    b'{"message": "Hello", "metadata": ' + b"[" * 30_000 + b"]" * 30_000 + b"}",
]


async def test_refuses_what_is_not_a_json_object(client: TestClient, user: Person) -> None:
    for raw in NO_OBJECTS:
        await problem(await send_raw(client, user, raw), 400, "malformed-json")
    assert await received(user) == []


async def test_refuses_another_media_type(client: TestClient, user: Person) -> None:
    response = await client.post(
        f"/api/feedback/{user.username}", data=b'{"message": "Hello"}', headers={"Content-Type": "text/plain"}
    )
    await problem(response, 415, "unsupported-media-type")
    assert await received(user) == []


async def test_refuses_a_large_body(client: TestClient, user: Person) -> None:
    await problem(await send(client, user, "x" * 70_000), 413, "too-large")
    assert await received(user) == []


NOT_VALID = [
    (b"{}", "message"),
    (b'{"message": null}', "message"),
    (b'{"message": 5}', "message"),
    (b'{"message": ["Hello"]}', "message"),
    (b'{"message": ""}', "message"),
    (b'{"message": " \\t\\r\\n\\u00a0\\u3000 "}', "message"),
    (b'{"message": "NUL \\u0000"}', "message"),
    (b'{"message": "lone \\ud800 surrogate"}', "message"),
    (b'{"message": "lone \\udfff surrogate"}', "message"),
    (b'{"message": "Hello", "metadata": "text"}', "metadata"),
    (b'{"message": "Hello", "metadata": []}', "metadata"),
    (b'{"message": "Hello", "metadata": {"a": "\\u0000"}}', "metadata"),
    (b'{"message": "Hello", "metadata": {"\\u0000": 1}}', "metadata"),
    (b'{"message": "Hello", "metadata": {"a": ["\\ud800"]}}', "metadata"),
    (b'{"message": "Hello", "metadata": {"\\ud800": 1}}', "metadata"),
    (b'{"message": "Hello", "email": "a@example.com"}', "email"),
    (b'{"message": "Hello", "is_read": true}', "is_read"),
    (b'{"message": "Hello", "\\ud800": true}', "?"),
]


async def test_refuses_what_is_not_valid(client: TestClient, user: Person) -> None:
    for raw, field in NOT_VALID:
        found = await problem(await send_raw(client, user, raw), 422, "invalid")
        assert set(found["errors"]) == {field}, raw
    assert await received(user) == []


async def test_trims_outer_white_space_alone(client: TestClient, user: Person) -> None:
    await body(await send(client, user, " \t\r\n\u00a0\u3000 Two\n\n  lines\u3000\n "), 201)
    assert [item["message"] for item in await received(user)] == ["Two\n\n  lines"]


async def test_takes_a_message_that_trimmed_is_not_too_long(client: TestClient, user: Person) -> None:
    await body(await send(client, user, " " * 10 + "x" * 5000 + " " * 10), 201)
    assert [item["message"] for item in await received(user)] == ["x" * 5000]


@pytest.mark.parametrize("character", ["x", "é", "\U0001f600"])
async def test_takes_5000_characters_of_any_size(client: TestClient, user: Person, character: str) -> None:
    await body(await send(client, user, character * 5000), 201)
    assert [item["message"] for item in await received(user)] == [character * 5000]


@pytest.mark.parametrize("character", ["x", "\U0001f600"])
async def test_refuses_5001_characters(client: TestClient, user: Person, character: str) -> None:
    raw = json.dumps({"message": character * 5001}, ensure_ascii=False).encode()
    response = await send_raw(client, user, raw)
    found = await problem(response, 422, "invalid")
    assert found["errors"] == {"message": ["Must have at most 5,000 characters."]}
    assert await received(user) == []


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert('x')</script>",
        "'; DROP TABLE feedback; --",
        "\x01\x1b[31m",
        "\ufeff\u202eabc",
        "e\u0301 \ufffe \uffff",
        "👩‍👩‍👧‍👦",
        "\\u0000 {} %s $1",
    ],
)
async def test_keeps_every_character(client: TestClient, user: Person, text: str) -> None:
    await body(await send(client, user, f"|{text}|", metadata={text: text}), 201)
    [item] = await received(user)
    assert (item["message"], item["metadata"]) == (f"|{text}|", {text: text})


@pytest.mark.parametrize("metadata", [None, {}, {"rating": 5}, {"rating": 0.5}, {"a": [1, "b", None, True, {}]}])
async def test_keeps_metadata(client: TestClient, user: Person, metadata: Any) -> None:
    await body(await send(client, user, metadata=metadata), 201)
    [item] = await received(user)
    assert item["metadata"] == metadata


@pytest.mark.parametrize(
    "number",
    [
        "0",
        "-1",
        "0.1",
        "3.5",
        "0.30000000000000004",
        "2.2250738585072014e-308",
        "1e22",
        "9007199254740993",
        "-9223372036854775809",
        "340282366920938463463374607431768211456",
        "1" + "0" * 306 + "1",
        "-" + "9" * 308,
        "179769313486231570" + "0" * 291,
    ],
)
async def test_gives_numbers_back_exactly(client: TestClient, user: Person, number: str) -> None:
    raw = f'{{"message": "Hello", "metadata": {{"n": {number}, "list": [{number}]}}}}'
    response = await send_raw(client, user, raw)
    await body(response, 201)
    [item] = await received(user)
    assert item["metadata"] == {"n": json.loads(number), "list": [json.loads(number)]}


@pytest.mark.parametrize(
    "number", ["1" + "0" * 309, "-1" + "0" * 309, "179769313486231590" + "0" * 291, "9" * 401, "1" + "0" * 3000]
)
@pytest.mark.parametrize("shape", ["%s", "[%s]", '[1, {"deep": [%s]}]'], ids=["alone", "in a list", "deep"])
async def test_refuses_numbers_that_no_double_holds(client: TestClient, user: Person, number: str, shape: str) -> None:
    raw = f'{{"message": "Hello", "metadata": {{"n": {shape % number}}}}}'
    found = await problem(await send_raw(client, user, raw), 422, "invalid")
    assert found["errors"] == {"metadata": ["Must have no number that a double cannot hold."]}
    assert await received(user) == []


async def test_gives_numbers_back_in_no_more_room_than_they_came_in(client: TestClient, user: Person) -> None:
    numbers = [1e308] * 500
    await body(await send(client, user, metadata={"a": numbers}), 201)
    response = await user.get("/api/feedback")
    [item] = (await body(response))["items"]
    assert [float(number) for number in item["metadata"]["a"]] == numbers
    assert len(await response.read()) < 2 * 4096


@pytest.mark.parametrize("filler", ["x", "é", "😀"])
async def test_takes_4_kib_of_metadata(client: TestClient, user: Person, filler: str) -> None:
    metadata = of_bytes(4096, filler)
    await body(await send(client, user, metadata=metadata), 201)
    [item] = await received(user)
    assert item["metadata"] == metadata


@pytest.mark.parametrize("filler", ["x", "é", "😀"])
async def test_refuses_more_than_4_kib_of_metadata(client: TestClient, user: Person, filler: str) -> None:
    metadata = of_bytes(4096 + len(filler.encode()), filler)
    found = await problem(await send(client, user, metadata=metadata), 422, "invalid")
    assert set(found["errors"]) == {"metadata"}
    assert await received(user) == []


async def test_counts_no_white_space_in_metadata(client: TestClient, user: Person) -> None:
    raw = json.dumps({"message": "Hello", "metadata": {"a": [0] * 2000}}, indent=8)
    response = await send_raw(client, user, raw)
    await body(response, 201)


async def test_takes_5_levels_of_metadata(client: TestClient, user: Person) -> None:
    await body(await send(client, user, metadata=nested(LEVELS)), 201)
    [item] = await received(user)
    assert item["metadata"] == nested(LEVELS)


@pytest.mark.parametrize("metadata", [nested(LEVELS + 1), {"a": [[[[[]]]]]}, nested(500)], ids=["objects", "lists", "many"])
async def test_refuses_more_than_5_levels_of_metadata(client: TestClient, user: Person, metadata: Any) -> None:
    found = await problem(await send(client, user, metadata=metadata), 422, "invalid")
    assert set(found["errors"]) == {"metadata"}
    assert await received(user) == []


@pytest.mark.parametrize("rating", [None, "5", True, [5], {}])
async def test_takes_a_number_alone_as_the_rating(client: TestClient, user: Person, rating: Any) -> None:
    found = await problem(await send(client, user, metadata={"rating": rating}), 422, "invalid")
    assert found["errors"] == {"metadata": {"rating": ["Must be a number."]}}
    assert await received(user) == []


@pytest.mark.parametrize("rating", [-0.5, 10.000001, 11, 1e300, -1e300, 2**64])
async def test_takes_no_rating_out_of_its_bounds(client: TestClient, user: Person, rating: float) -> None:
    found = await problem(await send(client, user, metadata={"rating": rating}), 422, "invalid")
    assert found["errors"] == {"metadata": {"rating": ["Must be from 0 to 10."]}}
    assert await received(user) == []


@pytest.mark.parametrize("part", ["1", "[]", "{}", '"x"', "null", str(10**300)], ids=["1", "[]", "{}", "x", "null", "long"])
async def test_refuses_metadata_of_more_values_than_fit(client: TestClient, user: Person, part: str) -> None:
    many = ",".join([part] * min(4097, 60_000 // (len(part) + 1)))
    found = await problem(
        await send_raw(client, user, f'{{"message": "Hello", "metadata": {{"a": [{many}]}}}}'), 422, "invalid"
    )
    assert found["errors"] == {"metadata": ["Must have at most 4,096 bytes as JSON, a widget's rating included."]}
    assert await received(user) == []


@pytest.mark.parametrize(("mode", "kept"), [("truncated", "127.0.0.0"), ("full", "127.0.0.1"), ("none", None)])
async def test_keeps_of_the_address_what_is_wanted(make_client: MakeClient, user: Person, mode: str, kept: str | None) -> None:
    assert await address(user, await make_client(ip_mode=mode)) == kept


async def test_believes_nobody_about_the_address_without_proxies(make_client: MakeClient, user: Person) -> None:
    assert await address(user, await make_client(ip_mode="full"), "203.0.113.9") == "127.0.0.1"


FORWARDED = [
    (1, ["203.0.113.9"], "203.0.113.9"),
    (1, ["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
    (1, ["6.6.6.6", "7.7.7.7,203.0.113.9"], "203.0.113.9"),
    (2, ["6.6.6.6, 203.0.113.9", "10.0.0.1"], "203.0.113.9"),
    (2, ["203.0.113.9"], "127.0.0.1"),
    (1, [], "127.0.0.1"),
    (1, ["203.0.113.9, junk"], "127.0.0.1"),
    (1, ["203.0.113.9, "], "127.0.0.1"),
    (1, ["2001:db8:1:2::3"], "2001:db8:1:2::3"),
    (1, ["::ffff:203.0.113.9"], "203.0.113.9"),
    (1, ["fe80::1%eth0"], "fe80::1"),
]


async def test_reads_the_address_from_the_right(make_client: MakeClient, user: Person) -> None:
    servers = {proxies: await make_client(ip_mode="full", trusted_proxies=proxies) for proxies in (1, 2)}
    for proxies, forwarded, kept in FORWARDED:
        assert await address(user, servers[proxies], *forwarded) == kept, forwarded


@pytest.mark.parametrize(
    ("forwarded", "kept"),
    [("203.0.113.9", "203.0.113.0"), ("2001:db8:1:2::3", "2001:db8:1::"), ("::ffff:203.0.113.9", "203.0.113.0")],
)
async def test_truncates_the_address_of_any_family(make_client: MakeClient, user: Person, forwarded: str, kept: str) -> None:
    assert await address(user, await make_client(trusted_proxies=1), forwarded) == kept


async def test_answers_a_repeat_with_the_first_id(client: TestClient, user: Person) -> None:
    first = await body(await repeat(client, user, "a key"), 201)
    assert await body(await repeat(client, user, "a key"), 201) == first
    inbox = await user.inbox()
    assert [item["id"] for item in inbox["items"]] == [first["id"]]
    assert (inbox["total_count"], inbox["unread_count"], inbox["cursor"]) == (1, 1, 1)


async def test_takes_another_spelling_of_a_body_as_the_same(client: TestClient, user: Person) -> None:
    path, headers = f"/api/feedback/{user.username}", {"Idempotency-Key": "k", "Content-Type": "application/json"}
    one = b'{"message": "Hello", "metadata": {"a": 1, "b": 2}}'
    other = b'{ "metadata":{"b":2,"a":1}, "message":" Hell\\u006f " }'
    first = await body(await client.post(path, data=one, headers=headers), 201)
    assert await body(await client.post(path, data=other, headers=headers), 201) == first


@pytest.mark.parametrize("other", [{"message": "Hello."}, {"metadata": {}}, {"metadata": {"a": 1}}])
async def test_refuses_another_body_under_the_same_key(client: TestClient, user: Person, other: dict[str, Any]) -> None:
    await body(await repeat(client, user, "a key", "Hello"), 201)
    await problem(await repeat(client, user, "a key", **{"message": "Hello", **other}), 409, "idempotency-mismatch")
    assert [item["message"] for item in await received(user)] == ["Hello"]


async def test_stores_the_same_body_under_another_key(client: TestClient, user: Person) -> None:
    first = await body(await repeat(client, user, "one"), 201)
    second = await body(await repeat(client, user, "two"), 201)
    assert [item["id"] for item in await received(user)] == [first["id"], second["id"]]


@pytest.mark.parametrize("key", ["", "k" * 256, "a\tb", "a\u200bb"])
async def test_refuses_a_key_that_is_empty_too_long_or_not_printable(client: TestClient, user: Person, key: str) -> None:
    found = await problem(await repeat(client, user, key), 422, "invalid")
    assert set(found["errors"]) == {"Idempotency-Key"}
    assert await received(user) == []


@pytest.mark.parametrize("key", ["k", "k" * 255, "clé 😀", "'\"; --"])
async def test_takes_any_printable_key(client: TestClient, user: Person, key: str) -> None:
    first = await body(await repeat(client, user, key), 201)
    assert await body(await repeat(client, user, key), 201) == first


async def test_tells_keys_apart_by_case(client: TestClient, user: Person) -> None:
    first = await body(await repeat(client, user, "key"), 201)
    assert (await body(await repeat(client, user, "KEY"), 201))["id"] != first["id"]


async def test_uses_no_key_up_on_an_error(client: TestClient, user: Person) -> None:
    await problem(await repeat(client, user, "a key", ""), 422, "invalid")
    await body(await repeat(client, user, "a key", "Hello"), 201)
    assert [item["message"] for item in await received(user)] == ["Hello"]


async def test_keeps_the_keys_of_inboxes_apart(client: TestClient, make_user: MakeUser) -> None:
    one, other = await make_user(), await make_user()
    first = await body(await repeat(client, one, "a key", "Hello, one"), 201)
    second = await body(await repeat(client, other, "a key", "Hello, other"), 201)
    assert [item["id"] for item in await received(one)] == [first["id"]]
    assert [item["id"] for item in await received(other)] == [second["id"]]


async def test_makes_one_row_of_fifty_racers(client: TestClient, user: Person) -> None:
    answers = await asyncio.gather(*(repeat(client, user, "a key") for _ in range(50)))
    ids = {(await body(answer, 201))["id"] for answer in answers}
    assert [item["id"] for item in await received(user)] == list(ids)


async def test_makes_one_row_of_fifty_racers_at_two_servers(make_client: MakeClient, user: Person) -> None:
    servers = [await make_client(), await make_client()]
    answers = await asyncio.gather(*(repeat(servers[n % 2], user, "a key") for n in range(50)))
    ids = {(await body(answer, 201))["id"] for answer in answers}
    inbox = await user.inbox()
    assert [item["id"] for item in inbox["items"]] == list(ids)
    assert (inbox["total_count"], inbox["cursor"]) == (1, 1)


async def test_lets_one_of_two_racing_bodies_win(make_client: MakeClient, user: Person) -> None:
    servers = [await make_client(), await make_client()]
    answers = await asyncio.gather(*(repeat(servers[n % 2], user, "a key", f"Body {n % 2}") for n in range(20)))
    assert sorted(answer.status for answer in answers) == [201] * 10 + [409] * 10
    assert len(await received(user)) == 1


async def test_knows_a_key_at_another_server(make_client: MakeClient, client: TestClient, user: Person) -> None:
    first = await body(await repeat(client, user, "a key"), 201)
    assert await body(await repeat(await make_client(), user, "a key"), 201) == first


async def test_knows_a_key_after_a_restart(make_client: MakeClient, user: Person) -> None:
    before = await make_client()
    first = await body(await repeat(before, user, "a key"), 201)
    await before.close()
    assert await body(await repeat(await make_client(), user, "a key"), 201) == first


async def age(sql: asyncpg.Connection, person: Person, hours: float) -> None:
    """Have the keys of an inbox come this much earlier."""
    await grow_older(sql, "idempotency", "created_at", person.id, timedelta(hours=hours))


async def test_knows_a_key_for_nearly_24_hours(client: TestClient, user: Person, sql: asyncpg.Connection) -> None:
    first = await body(await repeat(client, user, "a key"), 201)
    await age(sql, user, 23.9)
    assert await body(await repeat(client, user, "a key"), 201) == first


async def test_starts_anew_with_a_key_after_24_hours(client: TestClient, user: Person, sql: asyncpg.Connection) -> None:
    first = await body(await repeat(client, user, "a key", "First"), 201)
    await age(sql, user, 24.1)
    second = await body(await repeat(client, user, "a key", "Second"), 201)
    assert [item["id"] for item in await received(user)] == [first["id"], second["id"]]
    assert await body(await repeat(client, user, "a key", "Second"), 201) == second
    await problem(await repeat(client, user, "a key", "First"), 409, "idempotency-mismatch")


async def test_makes_one_row_of_racers_with_an_old_key(client: TestClient, user: Person, sql: asyncpg.Connection) -> None:
    await body(await repeat(client, user, "a key"), 201)
    await age(sql, user, 25)
    answers = await asyncio.gather(*(repeat(client, user, "a key") for _ in range(20)))
    assert len({(await body(answer, 201))["id"] for answer in answers}) == 1
    assert len(await received(user)) == 2


async def test_answers_the_first_id_after_its_deletion_too(client: TestClient, user: Person) -> None:
    first = await body(await repeat(client, user, "a key"), 201)
    assert (await user.delete(f"/api/feedback/{first['id']}")).status == 204
    assert await body(await repeat(client, user, "a key"), 201) == first
    inbox = await user.inbox()
    assert (inbox["items"], inbox["total_count"], inbox["cursor"]) == ([], 0, 2)


async def test_numbers_what_comes_at_once_without_gaps(client: TestClient, user: Person) -> None:
    await asyncio.gather(*(user.receive(f"Message {n}") for n in range(60)))
    items = await received(user)
    assert sorted(item["cursor"] for item in items) == list(range(1, 61))
    assert {item["message"] for item in items} == {f"Message {n}" for n in range(60)}
