"""GET /api/feedback."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from aiohttp.test_utils import TestClient

from fw.ids import just_before
from fw.inbox import listing
from tests.conftest import MakeUser
from tests.support.people import Person, body, nothing, problem

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
ReceiveAt = Callable[[Person, datetime], Awaitable[str]]


@pytest.fixture
def receive_at(sql: asyncpg.Connection) -> ReceiveAt:
    """Put items into an inbox that came at other times: their message is the time."""

    async def receive(person: Person, moment: datetime) -> str:
        version = 0x7000_8000_0000_0000_0000 | int.from_bytes(os.urandom(6), "big")
        feedback_id = UUID(int=UUID(just_before(moment)).int | version)
        await sql.execute(
            "SELECT inbox_append($1, ARRAY[$2::uuid], ARRAY[$3::timestamptz], ARRAY[NULL::uuid], ARRAY[NULL::inet], ARRAY[$4],"
            " ARRAY[NULL::json], NULL, NULL)",
            UUID(person.id),
            feedback_id,
            moment,
            moment.isoformat(),
        )
        return str(feedback_id)

    return receive


def ids(page: dict[str, Any]) -> list[str]:
    return [item["id"] for item in page["items"]]


async def found(person: Person, **query: Any) -> list[str]:
    return ids(await person.inbox(order="oldest", **query))


def together(turned: list[list[str]]) -> list[str]:
    return list(chain.from_iterable(turned))


async def pages(person: Person, between: Callable[[], Awaitable[Any]] | None = None, **query: Any) -> list[list[str]]:
    """Turn all pages, and do something between one and the next."""
    page = await person.inbox(**query)
    turned = [ids(page)]
    while page["next"]:
        if between:
            await between()
        page = await person.inbox(after=page["next"], **query)
        turned.append(ids(page))
    return turned


async def refused(person: Person, **query: Any) -> set[str]:
    """Return the fields that a query is refused for."""
    return set((await problem(await person.get("/api/feedback", params=query), 422, "invalid"))["errors"])


async def test_lists_an_empty_inbox(user: Person) -> None:
    assert await user.inbox() == {"items": [], "next": None, "unread_count": 0, "total_count": 0, "cursor": 0}


async def test_lists_the_newest_first(user: Person) -> None:
    sent = [await user.receive() for _ in range(3)]
    page = await user.inbox()
    assert ids(page) == sent[::-1]
    assert (page["next"], page["total_count"], page["unread_count"], page["cursor"]) == (None, 3, 3, 3)


async def test_lists_the_oldest_first(user: Person) -> None:
    sent = [await user.receive() for _ in range(3)]
    assert ids(await user.inbox(order="oldest")) == sent
    assert ids(await user.inbox(order="newest")) == sent[::-1]


async def test_lists_own_items_alone(user: Person, make_user: MakeUser) -> None:
    other = await make_user()
    theirs, own = await other.receive(), await user.receive()
    assert (ids(await user.inbox()), ids(await other.inbox())) == ([own], [theirs])


async def test_lists_no_deleted_items(user: Person) -> None:
    gone, kept = await user.receive(), await user.receive()
    await nothing(await user.delete(f"/api/feedback/{gone}"))
    page = await user.inbox()
    assert (ids(page), page["total_count"], page["unread_count"], page["cursor"]) == ([kept], 1, 1, 3)


async def test_counts_all_whatever_the_filter(user: Person) -> None:
    read = await user.receive("one")
    await user.receive("two")
    await user.patch(f"/api/feedback/{read}/read")
    page = await user.inbox(q="nothing has this")
    assert (page["items"], page["next"], page["total_count"], page["unread_count"], page["cursor"]) == ([], None, 2, 1, 3)


async def test_gives_twenty_at_first(user: Person) -> None:
    await asyncio.gather(*(user.receive() for _ in range(21)))
    assert [len(page) for page in await pages(user)] == [20, 1]


@pytest.mark.parametrize(("limit", "sizes"), [(1, [1] * 7), (3, [3, 3, 1]), (6, [6, 1]), (7, [7]), (100, [7])])
async def test_turns_pages(user: Person, limit: int, sizes: list[int]) -> None:
    sent = [await user.receive() for _ in range(7)]
    newest, oldest = await pages(user, limit=limit), await pages(user, limit=limit, order="oldest")
    assert [len(page) for page in newest] == [len(page) for page in oldest] == sizes
    assert together(newest) == sent[::-1]
    assert together(oldest) == sent


async def test_ends_a_page_of_more_than_a_mebibyte_early(user: Person) -> None:
    # As JSON each control character takes six bytes.
    await asyncio.gather(*(user.receive("\x01" * 5000) for _ in range(50)))
    first = await user.get("/api/feedback", params={"limit": "50"})
    assert 900 * 1024 < len(await first.read()) <= 1024 * 1024
    turned = await pages(user, limit=50)
    assert len(turned) == 2
    assert together(turned) == sorted(together(turned), reverse=True)
    assert len(set(together(turned))) == 50


async def test_a_long_page_is_cut_in_one_step(user: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAGE_BYTES", 20_000)
    # By their mean length nearly all would fit, again and again.
    await asyncio.gather(*(user.receive("x") for _ in range(60)))
    await asyncio.gather(*(user.receive("y" * 5000) for _ in range(4)))
    encoded = []

    def reply(page: Any, **options: Any) -> Any:
        encoded.append(len(page["items"]))
        return real(page, **options)

    real = listing.reply
    monkeypatch.setattr(listing, "reply", reply)
    first = await user.get("/api/feedback", params={"limit": "100"})
    assert len(await first.read()) <= 20_000
    assert encoded == [3]
    turned = await pages(user, limit=100)
    assert len(set(together(turned))) == len(together(turned)) == 64


async def test_neither_skips_nor_repeats_while_others_are_added(user: Person) -> None:
    sent = [await user.receive() for _ in range(10)]
    added: list[str] = []

    async def add() -> None:
        added.extend([await user.receive(), await user.receive()])

    assert together(await pages(user, add, limit=3)) == sent[::-1]
    assert added


async def test_comes_to_what_is_added_in_the_end(user: Person) -> None:
    sent = [await user.receive() for _ in range(6)]

    async def add() -> None:
        if len(sent) < 12:
            sent.append(await user.receive())

    assert together(await pages(user, add, limit=2, order="oldest")) == sent


async def test_goes_on_where_the_last_item_of_a_page_is_deleted(user: Person) -> None:
    sent = [await user.receive() for _ in range(4)]
    first = await user.inbox(limit=2, order="oldest")
    await nothing(await user.delete(f"/api/feedback/{sent[1]}"))
    assert await found(user, after=first["next"]) == sent[2:]


async def test_pages_within_a_filter(user: Person) -> None:
    sent = [await user.receive("yes" if n % 2 else "no") for n in range(10)]
    assert await pages(user, limit=2, q="YES") == [[sent[9], sent[7]], [sent[5], sent[3]], [sent[1]]]


@pytest.mark.parametrize(("text", "is_read"), [("true", True), ("1", True), ("false", False), ("0", False)])
async def test_filters_by_is_read(user: Person, text: str, is_read: bool) -> None:
    read, unread = await user.receive(), await user.receive()
    await user.patch(f"/api/feedback/{read}/read")
    assert await found(user, is_read=text) == [read if is_read else unread]


async def test_filters_by_widget(user: Person, client: TestClient) -> None:
    widgets = [await user.make_widget(), await user.make_widget()]
    await user.receive()
    sent = [
        (await body(await client.post(f"/api/widgets/{widget['id']}/feedback", json={"message": "Hi"}), 201))["id"]
        for widget in widgets
    ]
    assert await found(user, widget_id=widgets[0]["id"]) == [sent[0]]
    assert await found(user, widget_id=widgets[1]["id"].upper()) == [sent[1]]
    assert await found(user, widget_id=user.id) == []


async def test_filters_by_the_widget_of_somebody_else_to_nothing(user: Person, make_user: MakeUser) -> None:
    widget = await (await make_user()).make_widget()
    await body(await user.client.post(f"/api/widgets/{widget['id']}/feedback", json={"message": "Hi"}), 201)
    assert await found(user, widget_id=widget["id"]) == []


FOUND = [
    ("The quick brown fox", "QUICK Brown"),
    ("THE QUICK BROWN FOX", "quick"),
    ("a café in Zürich", "CAFÉ"),
    ("CAFÉ ZÜRICH", "zürich"),
    ("Привет, мир", "ПРИВЕТ"),
    ("ПРИВЕТ, МИР", "мир"),
    ("Ўзбекистон Ґанок", "ўЗБЕК"),
    ("ΟΔΥΣΣΕΥΣ", "οδυσσευς"),
    ("Οδυσσεύς", "ΟΔΥΣΣΕΎΣ"),
    ("ο λόγος του", "λόγοσ"),
    ("λόγοσ", "ΛΌΓΟΣ"),
    ("Straße", "straße"),
    ("Straße", "STRAẞE"),
    ("STRAẞE", "straße"),
    ("STRASSE", "straße"),
    ("strasse", "Straße"),
    ("Հայերեն", "ՀԱՅԵՐԵՆ"),
    ("ⓗⓔⓛⓛⓞ", "ⒽⒺⓁⓁⓄ"),
    ("𐐨𐐩", "𐐀𐐁"),
    ("nice 👍🏽 work", "👍🏽"),
    ("family 👩‍👩‍👧‍👦!", "👩‍👩‍👧‍👦"),
    ("日本語のテキスト", "本語"),
    ("مرحبا بالعالم", "بالعالم"),
    ("two\nlines", "o\nl"),
    ("tab\there", "\t"),
    ("with  two spaces", "h  t"),
]


async def test_finds_text_in_any_case(user: Person) -> None:
    await user.receive("something else")
    for message, q in FOUND:
        feedback_id = await user.receive(message)
        assert await found(user, q=q) == [feedback_id], q
        await nothing(await user.delete(f"/api/feedback/{feedback_id}"))


async def test_takes_special_characters_as_they_are(user: Person) -> None:
    sent = {character: await user.receive(f"a{character}b") for character in ".^$*+?()[]{}\\|-%_'\"&#/:;<>=!,~@`"}
    await user.receive("aab ab axb a")
    for character, feedback_id in sent.items():
        assert await found(user, q=f"A{character}B") == [feedback_id], character


async def test_takes_patterns_as_they_are(user: Person) -> None:
    await user.receive("abc aaa")
    for q in ("a.c", "[abc]", "a*", "a|b", "^abc", "c$", "(?i)ABC", "***=abc", "***:(?", "\\w", "\\1", "%", "a_c", "a{3}"):
        literal = await user.receive(f"say {q} to me")
        assert await found(user, q=q) == [literal], q


async def test_finds_a_long_text(user: Person) -> None:
    text = "ΐß€ Йx" * 33
    feedback_id = await user.receive(text)
    assert await found(user, q=text) == [feedback_id]
    assert await found(user, q="ß" * 200) == []


async def test_finds_everything_by_an_empty_text(user: Person) -> None:
    feedback_id = await user.receive()
    assert await found(user, q="") == [feedback_id]


async def test_searches_messages_alone(user: Person) -> None:
    await user.receive("Hello", metadata={"needle": "needle"})
    assert await found(user, q="needle") == []


TIMES: tuple[tuple[dict[str, str], list[int]], ...] = (
    ({"from": "2026-01-31T12:00:00Z"}, [12, 13, 24]),
    ({"from": "2026-01-31T12:00:00.001Z"}, [13, 24]),
    ({"from": "2026-01-31T12:00:00"}, [12, 13, 24]),
    ({"from": "2026-01-31T14:00:00+02:00"}, [12, 13, 24]),
    ({"from": "2026-01-31T07:30:00-05:30"}, [13, 24]),
    ({"to": "2026-01-31T12:00:00Z"}, [-1, 0, 12]),
    ({"to": "2026-01-31T11:59:59.999Z"}, [-1, 0]),
    ({"to": "2026-01-31T12:00:00.000999Z"}, [-1, 0, 12]),
    ({"to": "2026-01-31T14:00:00+0200"}, [-1, 0, 12]),
    ({"from": "2026-01-31"}, [0, 12, 13, 24]),
    ({"to": "2026-01-31"}, [-1, 0, 12, 13]),
    ({"from": "2026-01-31", "to": "2026-01-31"}, [0, 12, 13]),
    ({"from": "2026-01-31T00:00:00Z", "to": "2026-01-31T12:30:00Z"}, [0, 12]),
    ({"from": "2026-01-31T12:00:00Z", "to": "2026-01-31T12:00:00Z"}, [12]),
    ({"from": "2026-02-02", "to": "2026-01-01"}, []),
    ({"from": "1969-12-31"}, [-1, 0, 12, 13, 24]),
    ({"from": "0001-01-01", "to": "9999-12-30"}, [-1, 0, 12, 13, 24]),
)


async def test_filters_by_time(user: Person, receive_at: ReceiveAt) -> None:
    midnight = NOON.replace(hour=0)
    sent = {hour: await receive_at(user, midnight + timedelta(hours=hour)) for hour in (-1, 0, 12, 13, 24)}
    for query, hours in TIMES:
        assert await found(user, **query) == [sent[hour] for hour in hours], query


@pytest.mark.parametrize("field", ["from", "to"])
async def test_takes_an_offset_whose_plus_is_not_escaped(user: Person, receive_at: ReceiveAt, field: str) -> None:
    sent = [await receive_at(user, NOON + timedelta(hours=hour)) for hour in (-2, 2)]
    for offset, expected in (("+02:00", sent[1]), ("+0200", sent[1])):
        # 12:30+02:00 is 10:30 in UTC, 30 minutes after the first.
        page = await body(await user.get(f"/api/feedback?{field}=2026-01-31T12:30:00{offset}"))
        assert ids(page) == [expected if field == "from" else sent[0]]


@pytest.mark.parametrize("to", ["9999-12-31", "9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999999-00:00"])
async def test_takes_the_end_of_all_time(user: Person, to: str) -> None:
    feedback_id = await user.receive()
    assert ids(await user.inbox(to=to)) == [feedback_id]
    assert ids(await user.inbox(**{"from": to})) == []


@pytest.mark.parametrize("to", ["20260131", "2026-W05-6", "2026W056"])
async def test_takes_a_day_in_another_spelling_as_that_day_or_not_at_all(user: Person, receive_at: ReceiveAt, to: str) -> None:
    feedback_id = await receive_at(user, NOON)
    response = await user.get("/api/feedback", params={"to": to})
    if response.status == 422:
        assert set((await problem(response, 422, "invalid"))["errors"]) == {"to"}
    else:
        assert ids(await body(response)) == [feedback_id]


async def test_combines_filters(user: Person, client: TestClient) -> None:
    widget = await user.make_widget()
    path = f"/api/widgets/{widget['id']}/feedback"
    sent = [(await body(await client.post(path, json={"message": text}), 201))["id"] for text in ("Apple", "apple", "Pear")]
    direct = await user.receive("apple")
    await user.patch(f"/api/feedback/{sent[0]}/read")
    today = datetime.now(UTC).date()
    assert await found(user, widget_id=widget["id"], q="APPLE") == sent[:2]
    assert await found(user, widget_id=widget["id"], is_read="false") == sent[1:]
    assert await found(user, q="apple", is_read="false") == [sent[1], direct]
    assert await found(user, q="apple", is_read="true", widget_id=widget["id"]) == [sent[0]]
    days = {"from": str(today - timedelta(days=1)), "to": str(today + timedelta(days=1))}
    assert await found(user, q="apple", is_read="false", widget_id=widget["id"], limit=1, **days) == [sent[1]]
    assert await found(user, q="apple", is_read="false", widget_id=widget["id"], to="2020-01-01") == []


async def test_pages_within_all_filters(user: Person, receive_at: ReceiveAt) -> None:
    sent = [await receive_at(user, NOON + timedelta(hours=hour)) for hour in range(-3, 4)]
    query = {"from": "2026-01-31T10:00:00Z", "to": "2026-01-31T14:00:00Z", "q": "2026", "is_read": "false"}
    assert await pages(user, limit=2, **query) == [sent[5:3:-1], sent[3:1:-1], [sent[1]]]
    assert await pages(user, limit=2, order="oldest", **query) == [sent[1:3], sent[3:5], [sent[5]]]


BAD_MOMENTS = (
    *("", "yesterday", "2026", "2026-02-30", "2026-01-31T25:00:00Z", "2026-01-31T12:00:00+99:00", "12:00", "٢٠٢٦-٠١-٣١"),
    *("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"),
)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("limit", ("0", "101", "-1", "ten", "", "1.5", "1e1", "٣", "9" * 30)),
        ("is_read", ("", "yes", "TRUE", "2")),
        ("order", ("", "NEWEST", "id; DROP TABLE feedback")),
        ("widget_id", ("", "x", "123", "{0190a0a0-0000-7000-8000-000000000000}")),
        ("q", ("x" * 201, "a\0b")),
        ("after", ("", "x", "!", "é", "\0", "AAAA", "A" * 21, "A" * 23, "A" * 1000, "' OR 1=1 --", "====")),
        ("from", BAD_MOMENTS),
        ("to", BAD_MOMENTS),
    ],
)
async def test_refuses_what_is_not_valid(user: Person, field: str, values: tuple[str, ...]) -> None:
    for value in values:
        assert await refused(user, **{field: value}) == {field}, value


async def test_refuses_a_tampered_after(user: Person) -> None:
    await user.receive()
    await user.receive()
    after = (await user.inbox(limit=1))["next"]
    for tampered in (after[:-1], after + "A", after + "!", f" {after}"):
        assert await refused(user, after=tampered) == {"after"}


async def test_names_all_that_is_not_valid(user: Person) -> None:
    assert await refused(user, limit="x", order="x", to="x") == {"limit", "order", "to"}


async def test_survives_bytes_that_are_no_text(user: Person) -> None:
    await user.receive("Hello")
    response = await user.get("/api/feedback?q=%ff%fe")
    assert response.status in {200, 422}


async def test_ignores_unknown_parameters(user: Person) -> None:
    feedback_id = await user.receive()
    assert await found(user, since="x", wait="y", from_="z", _="1700000000") == [feedback_id]


async def test_takes_the_first_of_a_parameter_given_twice(user: Person) -> None:
    sent = [await user.receive() for _ in range(2)]
    assert ids(await body(await user.get("/api/feedback?limit=1&limit=50&order=oldest"))) == sent[:1]


async def test_is_not_stored_by_caches(user: Person) -> None:
    response = await user.get("/api/feedback")
    assert response.headers["Cache-Control"] == "no-store"
    await body(response)


async def test_has_not_changed_since(user: Person) -> None:
    await user.receive()
    first = await user.get("/api/feedback")
    second = await user.get("/api/feedback", headers={"If-None-Match": first.headers["ETag"]})
    await nothing(second, 304)
    assert second.headers["ETag"] == first.headers["ETag"]
    assert second.headers["Cache-Control"] == "no-store"
    assert second.headers["X-Request-ID"]


@pytest.mark.parametrize("template", ["*", "W/{}", '"other", {}', '{}, "other"'])
async def test_understands_if_none_match(user: Person, template: str) -> None:
    etag = (await user.get("/api/feedback")).headers["ETag"]
    await nothing(await user.get("/api/feedback", headers={"If-None-Match": template.format(etag)}), 304)


@pytest.mark.parametrize("text", ['"other"', "junk", '"', "", '"\u00e9"'])
async def test_lists_for_another_etag_and_for_none(user: Person, text: str) -> None:
    await body(await user.get("/api/feedback", headers={"If-None-Match": text}))


async def test_has_another_etag_after_every_change(user: Person) -> None:
    etags = []

    async def look() -> None:
        etag = etags[-1] if etags else '"none"'
        response = await user.get("/api/feedback", headers={"If-None-Match": etag})
        await body(response)
        etags.append(response.headers["ETag"])

    await look()
    feedback_id = await user.receive()
    await look()
    await user.patch(f"/api/feedback/{feedback_id}/read")
    await look()
    await user.patch(f"/api/feedback/{feedback_id}/read", json={"is_read": False})
    await look()
    await user.delete(f"/api/feedback/{feedback_id}")
    await look()
    assert len(set(etags)) == 5


async def test_has_another_etag_for_another_question(user: Person, make_user: MakeUser) -> None:
    other = await make_user()
    await user.receive()
    await user.receive()
    await other.receive()
    await other.receive()
    after = (await user.inbox(limit=1))["next"]
    questions: list[dict[str, Any]] = [
        {},
        {"limit": 1},
        {"limit": 1, "after": after},
        {"order": "oldest"},
        {"q": "a"},
        {"q": "A"},
        {"is_read": "true"},
        {"is_read": "false"},
        {"from": "2026-01-01"},
        {"to": "2026-01-01"},
        {"widget_id": user.id},
    ]
    etags = [(await user.get("/api/feedback", params=question)).headers["ETag"] for question in questions]
    etags.append((await other.get("/api/feedback")).headers["ETag"])
    assert len(set(etags)) == len(questions) + 1


async def test_answers_head_without_a_body(user: Person) -> None:
    await user.receive()
    full = await user.get("/api/feedback")
    head = await user.call("HEAD", "/api/feedback")
    await nothing(head, 200)
    assert head.headers["ETag"] == full.headers["ETag"]
    assert head.headers["Content-Length"] == full.headers["Content-Length"]
    await nothing(await user.call("HEAD", "/api/feedback", headers={"If-None-Match": full.headers["ETag"]}), 304)


async def test_needs_a_token(client: TestClient) -> None:
    response = await client.get("/api/feedback")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    await problem(response, 401, "unauthorized")
