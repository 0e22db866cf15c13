"""GET /api/feedback/live: the inbox over a WebSocket."""

import asyncio
import contextlib
from dataclasses import replace
from itertools import cycle
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, HttpVersion10, WSMsgType, WSServerHandshakeError
from aiohttp.test_utils import TestClient

from fw.errors import Unavailable
from fw.inbox import channel as live
from fw.inbox import feed, sockets
from fw.inbox.hub import HUB
from tests.conftest import MakeClient, MakeUser
from tests.support.live import PATH, close_code, connect, event
from tests.support.people import Person, body, nothing, problem
from tests.support.waiting import until


async def follow(ws: ClientWebSocketResponse, cursor: int) -> list[dict[str, Any]]:
    """Read events up to a cursor."""
    events = [await event(ws)]
    while events[-1]["cursor"] < cursor:
        events.append(await event(ws))
    return events


async def test_says_hello_with_where_the_inbox_stands(user: Person) -> None:
    await user.receive()
    ws = await connect(user)
    assert await event(ws) == {"event": "hello", "cursor": 1, "unread_count": 1}


async def test_tells_what_happens_from_now_on(user: Person) -> None:
    await user.receive("before")
    ws = await connect(user)
    await event(ws)
    feedback_id = await user.receive("Grüße 👋", metadata={"rating": 5})
    shown = await body(await user.get(f"/api/feedback/{feedback_id}"))
    assert await event(ws) == {"event": "created", "cursor": 2, "feedback": shown}
    marked = await body(await user.patch(f"/api/feedback/{feedback_id}/read"))
    assert await event(ws) == {"event": "updated", "cursor": 3, "feedback": marked}
    await nothing(await user.delete(f"/api/feedback/{feedback_id}"))
    assert await event(ws) == {"event": "deleted", "cursor": 4, "id": feedback_id}


async def test_replays_what_was_missed_since_a_cursor(user: Person) -> None:
    ids = [await user.receive(f"{n}") for n in range(3)]
    ws = await connect(user, since=1)
    assert (await event(ws))["cursor"] == 3
    assert [(found["cursor"], found["feedback"]["id"]) for found in await follow(ws, 3)] == [(2, ids[1]), (3, ids[2])]
    await user.receive("live")
    assert (await event(ws))["cursor"] == 4


async def test_replays_more_than_one_reading_holds(user: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fw.inbox.feed.MOST", 3)
    for n in range(10):
        await user.receive(f"{n}")
    ws = await connect(user, since=0)
    await event(ws)
    assert [found["cursor"] for found in await follow(ws, 10)] == list(range(1, 11))


@pytest.mark.parametrize("since", [99, 0])
async def test_tells_a_reader_with_a_cursor_it_cannot_serve_to_begin_anew(
    user: Person, sql: asyncpg.Connection, since: int
) -> None:
    await user.receive()
    await sql.execute("UPDATE inboxes SET horizon = 1 WHERE user_id = $1", user.id)
    ws = await connect(user, since=since)
    await event(ws)
    assert await event(ws) == {"event": "resync", "cursor": 1}
    await user.receive()
    assert (await event(ws))["cursor"] == 2


async def test_tells_every_device_the_same(user: Person) -> None:
    devices = [await connect(user, since=0) for _ in range(5)]
    for device in devices:
        await event(device)
    for n in range(20):
        await user.receive(f"{n}")
    seen = [await follow(device, 20) for device in devices]
    assert [found["cursor"] for found in seen[0]] == list(range(1, 21))
    assert all(found == seen[0] for found in seen)


async def test_tells_what_another_process_took_in(make_client: MakeClient, user: Person) -> None:
    other = await make_client()
    ws = await connect(user)
    await event(ws)
    await body(await other.post(f"/api/feedback/{user.username}", json={"message": "elsewhere"}), 201)
    assert (await event(ws))["feedback"]["message"] == "elsewhere"


async def test_tells_nothing_of_other_inboxes(user: Person, make_user: MakeUser) -> None:
    ws = await connect(user)
    await event(ws)
    await (await make_user()).receive("not for you")
    await user.receive("for you")
    assert (await event(ws))["feedback"]["message"] == "for you"


async def test_readers_that_come_while_others_write_miss_nothing_and_see_nothing_twice(user: Person) -> None:
    async def read(start: int) -> list[int]:
        await until(lambda: has_reached(user, start))
        ws = await connect(user, since=start)
        await event(ws)
        return [found["cursor"] for found in await follow(ws, 60)]

    readers = [asyncio.create_task(read(start)) for start in (0, 5, 10, 20, 30, 40, 50)]
    for n in range(0, 60, 4):
        await asyncio.gather(*(user.receive(f"{n} {m}") for m in range(4)))
    for reader, start in zip(readers, (0, 5, 10, 20, 30, 40, 50), strict=True):
        assert await reader == list(range(start + 1, 61))


async def has_reached(user: Person, cursor: int) -> bool:
    return (await user.inbox(limit=1))["cursor"] >= cursor


# Authentication


async def test_takes_the_token_as_a_subprotocol(user: Person) -> None:
    ws = await user.client.ws_connect(PATH, protocols=("feedbackwave", f"bearer.{user.token}"))
    assert ws.protocol == "feedbackwave"
    assert (await event(ws))["event"] == "hello"


async def test_takes_the_token_in_the_first_message(user: Person) -> None:
    ws = await user.client.ws_connect(PATH)
    await ws.send_json({"type": "auth", "token": user.token})
    assert (await event(ws))["event"] == "hello"


async def test_never_takes_the_token_from_the_url(user: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "AUTH_SECONDS", 0.1)
    ws = await user.client.ws_connect(f"{PATH}?token={user.token}&access_token={user.token}")
    assert await close_code(ws) == 4401


async def test_closes_with_4401_where_no_token_comes_in_time(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "AUTH_SECONDS", 0.1)
    assert await close_code(await client.ws_connect(PATH)) == 4401


@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c", "ü"])
async def test_tells_a_bad_token_after_the_upgrade(client: TestClient, token: str) -> None:
    header = await client.ws_connect(PATH, headers={"Authorization": f"Bearer {token}"})
    assert await close_code(header) == 4401
    message = await client.ws_connect(PATH)
    await message.send_json({"type": "auth", "token": token})
    assert await close_code(message) == 4401


async def test_tells_a_bad_token_in_a_subprotocol_after_the_upgrade(client: TestClient) -> None:
    ws = await client.ws_connect(PATH, protocols=("feedbackwave", "bearer.nonsense"))
    assert ws.protocol == "feedbackwave"
    assert await close_code(ws) == 4401


@pytest.mark.parametrize("sent", ["{}", "not json", "[]", '{"type": "auth"}', '{"type": "hello", "token": "x"}', "[" * 4000])
async def test_closes_with_4400_where_the_first_message_is_something_else(client: TestClient, sent: str) -> None:
    ws = await client.ws_connect(PATH)
    await ws.send_str(sent)
    assert await close_code(ws) == 4400


@pytest.mark.slow
async def test_closes_with_4401_when_the_token_expires(make_client: MakeClient, make_user: MakeUser) -> None:
    user = await make_user(client=await make_client(jwt_ttl=2))
    ws = await connect(user)
    await event(ws)
    assert await close_code(ws) == 4401


async def test_closes_with_4401_at_logout_in_every_process(make_client: MakeClient, user: Person) -> None:
    elsewhere = replace(user, client=await make_client())
    devices = [await connect(user), await connect(elsewhere)]
    for device in devices:
        await event(device)
    await nothing(await user.post("/api/auth/logout"))
    assert [await close_code(device) for device in devices] == [4401, 4401]


async def test_a_new_password_closes_the_sockets_of_other_sessions_alone(user: Person) -> None:
    answer = await body(await user.client.post("/api/auth/login", json={"login": user.username, "password": user.password}))
    mine, other = await connect(user), await connect(replace(user, token=answer["access_token"]))
    for ws in (mine, other):
        await event(ws)
    asked = {"current_password": user.password, "new_password": user.password + "!"}
    await nothing(await user.post("/api/auth/password", json=asked))
    assert await close_code(other) == 4401
    await user.receive()
    assert (await event(mine))["event"] == "created"


async def test_closes_with_4401_when_the_account_goes(user: Person) -> None:
    ws = await connect(user)
    await event(ws)
    await nothing(await user.delete("/api/users/profile", json={"current_password": user.password}))
    assert await close_code(ws) == 4401


# Who may open one


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://", "https://127.0.0.1:1"])
async def test_refuses_pages_of_other_sites_before_the_upgrade(user: Person, origin: str) -> None:
    with pytest.raises(WSServerHandshakeError) as refused:
        await user.client.ws_connect(PATH, headers={**user.headers, "Origin": origin})
    assert refused.value.status == 403


async def test_takes_pages_of_its_own_and_of_the_api(make_client: MakeClient, make_user: MakeUser) -> None:
    client = await make_client(cors_origins=frozenset({"https://app.example"}))
    user = await make_user(client=client)
    for origin in ("https://app.example", str(client.make_url("/").origin())):
        ws = await client.ws_connect(PATH, headers={**user.headers, "Origin": origin})
        assert (await event(ws))["event"] == "hello"


async def test_is_no_plain_request(user: Person) -> None:
    response = await user.get(PATH)
    assert response.headers["Upgrade"] == "websocket"
    await problem(response, 426, "upgrade-required")


HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "A" * 22 + "==",
}


async def test_is_opened_by_get_alone(user: Person) -> None:
    response = await user.call("HEAD", PATH, headers=HANDSHAKE)
    assert response.status == 426


@pytest.mark.parametrize(
    "fields",
    [
        {"Sec-WebSocket-Key": "ÿ" * 22 + "=="},
        {"Sec-WebSocket-Extensions": "permessage-deflate; server_max_window_bits=" + "9" * 5000},
        {"Upgrade": "ÿ"},
    ],
    ids=["key", "extension", "upgrade"],
)
async def test_refuses_odd_handshakes(user: Person, fields: dict[str, str]) -> None:
    await problem(await user.get(PATH, headers=HANDSHAKE | fields), 426, "upgrade-required")


async def test_is_for_http_1_1(user: Person) -> None:
    async with ClientSession(version=HttpVersion10) as session:
        response = await session.get(user.client.make_url(PATH), headers=HANDSHAKE | user.headers)
        await problem(response, 426, "upgrade-required")


async def test_refuses_a_cursor_that_is_none(user: Person) -> None:
    await problem(await user.get(f"{PATH}?since=x"), 422, "invalid")


async def test_holds_20_sockets_a_user(user: Person) -> None:
    devices = [await connect(user) for _ in range(20)]
    for device in devices:
        await event(device)
    with pytest.raises(WSServerHandshakeError) as refused:
        await connect(user)
    assert refused.value.status == 429
    headers = refused.value.headers or {}
    assert headers["RateLimit-Policy"] == '"readers";q=20'
    late = await user.client.ws_connect(PATH)
    await late.send_json({"type": "auth", "token": user.token})
    assert await close_code(late) == 4429
    await devices[0].close()
    await until(lambda: fits(user))


async def fits(user: Person) -> bool:
    try:
        await connect(user)
    except WSServerHandshakeError:
        return False
    return True


# What may be said, and how it ends


@pytest.mark.parametrize("say", [lambda ws: ws.send_str("hello"), lambda ws: ws.send_bytes(b"x")])
async def test_closes_with_4400_where_the_reader_talks(user: Person, say: Any) -> None:
    ws = await connect(user)
    await event(ws)
    await say(ws)
    assert await close_code(ws) == 4400


@pytest.mark.parametrize("kind", ["ping", "pong"])
@pytest.mark.parametrize("is_named", [True, False])
async def test_ends_a_flood_of_pings_and_pongs(user: Person, kind: str, is_named: bool) -> None:
    ws = await connect(user) if is_named else await user.client.ws_connect(PATH)
    with contextlib.suppress(ConnectionError):
        for _ in range(1000):
            await getattr(ws, kind)()
            await asyncio.sleep(0)
    assert await close_code(ws) in {1006, None}
    # Its place is free again.
    await until(lambda: has_no_sockets(user))


async def test_ends_a_flood_of_other_messages_too(user: Person) -> None:
    ws = await user.client.ws_connect(PATH)
    with contextlib.suppress(ConnectionError):
        for _ in range(1000):
            await ws.send_str("")
            await asyncio.sleep(0)
    assert await close_code(ws) in {4400, 1006}


async def has_no_sockets(user: Person) -> bool:
    return user.id not in client_hub(user)._rooms


async def test_answers_pings(user: Person) -> None:
    ws = await connect(user, autoping=False)
    await event(ws)
    for payload in (b"", b"still there?"):
        await ws.ping(payload)
        message = await ws.receive(timeout=10)
        assert (message.type, message.data) == (WSMsgType.PONG, payload)
    await user.receive()
    assert (await event(ws))["event"] == "created"


async def test_closes_with_1009_where_a_message_is_too_big(user: Person) -> None:
    ws = await connect(user)
    await event(ws)
    await ws.send_str("x" * 5000)
    assert await close_code(ws) == 1009


async def test_pings(user: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "PING_SECONDS", 0.2)
    ws = await connect(user, autoping=False)
    await event(ws)
    assert (await ws.receive(timeout=10)).type is WSMsgType.PING


async def test_closes_with_1012_when_the_server_goes_before_the_token_has_come(make_client: MakeClient) -> None:
    client = await make_client()
    ws = await client.ws_connect(PATH)
    closing = asyncio.create_task(client.server.close())
    assert await close_code(ws) == 1012
    await closing


async def test_closes_with_1012_where_the_database_is_away_after_the_upgrade(make_client: MakeClient, user: Person) -> None:
    client = await make_client(database_url="postgresql://nobody@127.0.0.1:1/nowhere")
    ws = await client.ws_connect(PATH)
    await ws.send_json({"type": "auth", "token": user.token})
    assert await close_code(ws) == 1012


async def test_closes_with_1011_where_something_goes_wrong_after_the_upgrade(
    user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(user_id: str, since: int) -> None:
        raise RuntimeError

    monkeypatch.setattr(client_hub(user)._feed, "read", fail)
    assert await close_code(await connect(user)) == 1011


async def test_closes_with_1012_when_the_server_goes(make_client: MakeClient, make_user: MakeUser) -> None:
    client = await make_client()
    user = await make_user(client=client)
    devices = [await connect(user) for _ in range(3)]
    for device in devices:
        await event(device)
    closing = asyncio.create_task(client.server.close())
    assert [await close_code(device) for device in devices] == [1012] * 3
    await closing


async def test_a_pong_does_not_put_off_the_time_for_the_token(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "AUTH_SECONDS", 0.5)
    ws = await client.ws_connect(PATH)

    async def keep_alive() -> None:
        while True:
            await ws.pong()
            await asyncio.sleep(0.05)

    ponging = asyncio.create_task(keep_alive())
    assert await close_code(ws) == 4401
    ponging.cancel()
    await asyncio.gather(ponging, return_exceptions=True)


def stall(ws: ClientWebSocketResponse) -> asyncio.Transport:
    """Have a client take nothing more."""
    connection = ws._conn
    assert connection is not None
    transport = connection.transport
    assert isinstance(transport, asyncio.Transport)
    transport.pause_reading()
    return transport


@pytest.mark.slow
async def test_a_reader_that_falls_behind_is_sent_the_rest_at_its_own_pace(
    user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "BUFFER_BYTES", 50_000)
    slow = await connect(user)
    await event(slow)
    transport = stall(slow)
    [socket] = client_hub(user)._rooms[user.id].sockets
    number = 0
    while socket.is_live:
        # The kernel's own buffers take some megabytes before ours has to.
        await asyncio.gather(*(user.receive("x" * 5000) for _ in range(50)))
        number += 50
        assert number < 5000
    await asyncio.gather(*(user.receive("y" * 5000) for _ in range(200)))
    assert socket.transport.get_write_buffer_size() < 50_000 + feed.MOST_BYTES + 100_000
    transport.resume_reading()
    assert [(await event(slow))["cursor"] for _ in range(number + 200)] == list(range(1, number + 201))
    await user.receive("live again")
    assert (await event(slow))["feedback"]["message"] == "live again"


async def test_reads_no_more_for_a_reader_that_has_left(user: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fw.inbox.feed.MOST", 1)
    for n in range(20):
        await user.receive(f"{n}")
    hub, may_read, reads = client_hub(user), asyncio.Event(), list[int]()
    read = hub._feed.read

    async def read_when_allowed(user_id: str, since: int) -> Any:
        reads.append(since)
        if len(reads) > 2:
            await may_read.wait()
        return await read(user_id, since)

    monkeypatch.setattr(hub._feed, "read", read_when_allowed)
    leaving = await connect(user, since=0)
    await until(lambda: has_read(reads, 3))
    [socket] = hub._rooms[user.id].sockets
    assert leaving._conn is not None
    assert leaving._conn.transport is not None
    leaving._conn.transport.abort()

    async def is_gone() -> bool:
        return bool(socket.transport.is_closing())

    await until(is_gone)
    may_read.set()

    async def is_left() -> bool:
        return user.id not in hub._rooms

    await until(is_left)
    assert len(reads) == 3


async def test_a_reader_that_leaves_before_it_is_read_for_is_no_error(user: Person, caplog: pytest.LogCaptureFixture) -> None:
    hub = client_hub(user)
    await event(await connect(user))
    [socket] = hub._rooms[user.id].sockets
    socket.transport.abort()
    hub._start_catching_up(socket)

    async def is_left() -> bool:
        return user.id not in hub._rooms and not hub._reading

    await until(is_left)
    assert not [record for record in caplog.records if record.name == "fw.hub"]


async def has_read(reads: list[int], number: int) -> bool:
    return len(reads) >= number


async def test_reads_for_one_reader_of_an_inbox_at_a_time(user: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fw.inbox.feed.MOST", 1)
    for n in range(10):
        await user.receive(f"{n}")
    hub, under_way, most = client_hub(user), [0], [0]
    read = hub._feed.read

    async def count(user_id: str, since: int) -> Any:
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])
        try:
            return await read(user_id, since)
        finally:
            under_way[0] -= 1

    monkeypatch.setattr(hub._feed, "read", count)
    devices = [await connect(user, since=0) for _ in range(5)]
    for device in devices:
        assert (await follow(device, 10))[-1]["cursor"] == 10
    assert most == [1]


@pytest.mark.slow
async def test_cuts_off_a_reader_that_takes_nothing_of_a_replay(user: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "STALLED_SECONDS", 0.5)
    monkeypatch.setattr(sockets, "LINGER_SECONDS", 1.0)
    monkeypatch.setattr("fw.inbox.hub.TEND_SECONDS", 0.1)
    monkeypatch.setattr(sockets, "BUFFER_BYTES", 50_000)
    for _ in range(10):
        await asyncio.gather(*(user.receive("x" * 5000) for _ in range(100)))
    stalled = await connect(user, since=0)
    hub = client_hub(user)
    transport = stall(stalled)

    async def is_cut_off() -> bool:
        for socket in hub._rooms[user.id].sockets if user.id in hub._rooms else ():
            assert socket.transport.get_write_buffer_size() < 500_000
        return bool(hub.closed[4408])

    await until(is_cut_off, seconds=30)
    transport.abort()


@pytest.mark.slow
async def test_cuts_off_who_does_not_read_and_harms_nobody_else(user: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "BUFFER_BYTES", 50_000)
    monkeypatch.setattr(sockets, "STALLED_SECONDS", 1.0)
    monkeypatch.setattr(sockets, "LINGER_SECONDS", 1.0)
    stalled, reader = await connect(user), await connect(user)
    for ws in (stalled, reader):
        await event(ws)
    transport = stall(stalled)
    seen: list[dict[str, Any]] = []
    reading = asyncio.create_task(keep_reading(reader, seen))
    sockets_of = client_hub(user)._rooms[user.id].sockets
    # The kernel's own buffers take some megabytes before ours has to.
    number = 1500
    for _ in range(number // 50):
        await asyncio.gather(*(user.receive("x" * 5000) for _ in range(50)))
        assert max(socket.transport.get_write_buffer_size() for socket in sockets_of) < 50_000 + 2 * feed.MOST_BYTES

    async def has_seen_all() -> bool:
        return len(seen) == number

    async def is_cut_off() -> bool:
        return len(sockets_of) == 1

    await until(is_cut_off)
    await until(has_seen_all)
    assert [found["cursor"] for found in seen] == list(range(1, number + 1))
    reading.cancel()
    transport.abort()


async def keep_reading(ws: ClientWebSocketResponse, seen: list[dict[str, Any]]) -> None:
    while True:
        seen.append(await event(ws))


async def test_what_is_left_is_sent_though_a_reading_fails(user: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fw.inbox.feed.MOST", 1)
    ids = [await user.receive(f"{n}") for n in range(5)]
    ws = await connect(user)
    await event(ws)
    feed = client_hub(user)._feed
    read, failures = feed.read, iter([Unavailable()])

    async def fail_once(user_id: str, since: int) -> Any:
        for failure in failures:
            raise failure
        return await read(user_id, since)

    monkeypatch.setattr(feed, "read", fail_once)
    await body(await user.post("/api/feedback/bulk", json={"ids": ids, "is_read": True}))
    assert [found["cursor"] for found in await follow(ws, 10)] == [6, 7, 8, 9, 10]
    assert next(failures, None) is None


async def test_a_session_ends_while_another_inbox_has_no_end_of_changes(
    user: Person, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fw.inbox.feed.MOST", 1)
    rows = client_hub(user)._feed._database.rows

    async def read_slowly(name: str, *arguments: Any) -> Any:
        if name.startswith("feedback.changes"):
            await asyncio.sleep(0.02)
        return await rows(name, *arguments)

    monkeypatch.setattr(client_hub(user)._feed._database, "rows", read_slowly)
    busy = await make_user()
    ids = await asyncio.gather(*(busy.receive() for _ in range(100)))
    seen: list[dict[str, Any]] = []
    reading = asyncio.create_task(keep_reading(await connect(busy), seen))

    cursor = len(ids)

    async def mark_for_ever() -> None:
        nonlocal cursor
        for is_read in cycle((True, False)):
            answer = await body(await busy.post("/api/feedback/bulk", json={"ids": ids, "is_read": is_read}))
            cursor += answer["changed"]

    async def is_far_behind() -> bool:
        return cursor > seen[-1]["cursor"] + len(ids) / 2

    victim, device = await connect(user), await connect(user)
    for ws in (victim, device):
        await event(ws)
    marking = asyncio.create_task(mark_for_ever())
    await until(is_far_behind)
    await user.receive("not kept waiting")
    assert (await event(victim))["feedback"]["message"] == "not kept waiting"
    await nothing(await user.post("/api/auth/logout"))
    assert await close_code(victim) == 4401
    assert not marking.done()
    for task in (marking, reading):
        task.cancel()


def client_hub(user: Person) -> Any:
    return user.client.app[HUB]  # type: ignore[union-attr]
