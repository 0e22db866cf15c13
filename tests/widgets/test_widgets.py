"""/api/widgets and /api/widgets/{id}: the owner's side."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from aiohttp.test_utils import TestClient

from tests.conftest import MakeUser
from tests.support.people import Person, body, nothing, problem
from tests.support.waiting import someone_waits_for

SETTINGS: dict[str, Any] = {
    "title": "What do you think?",
    "placeholder": "Tell us",
    "submit_label": "Send",
    "thank_you": "Thank you! 🎉",
    "color": "#1a2B3c",
    "position": "bottom-left",
    "locale": "pt-BR",
    "allowed_origins": ["https://example.com", "http://localhost:3000"],
}

TEXTS = ("title", "placeholder", "submit_label", "thank_you")

GOOD_SETTINGS: dict[str, Sequence[Any]] = {
    **dict.fromkeys(TEXTS, ("", "Ä" * 200, " as it is\n", "<b>&amp;")),
    "color": ["#000000", "#FFaa09"],
    "position": ["bottom-right", "bottom-left"],
    "locale": [
        *("en", "gsw", "pt-BR", "es-419", "zh-Hant-TW", "zh-cmn-Hans-CN", "de-CH-1996", "sl-rozaj-biske"),
        *("de-DE-u-co-phonebk", "en-x-mine", "EN-us", "x-foo", "X-a-1-whatever", "i-klingon", "I-DEFAULT", "sgn-BE-FR"),
        *("en-gb-oed", "art-lojban", "zh-min-nan", "no-bok"),
    ],
    "allowed_origins": [
        [],
        ["https://xn--bcher-kva.example", "http://127.0.0.1:8000", "http://[::1]:8000"],
        [f"https://{n}.example" for n in range(20)],
    ],
}

BAD_SETTINGS: dict[str, Sequence[Any]] = {
    **dict.fromkeys(TEXTS, ("x" * 201, "a\0b", "\ud800", 1, True, None, ["a"], {"en": "Hi"})),
    "color": ["red", "#fff", "1a2b3c", "#1a2b3g", "#1a2b3c ", "#1a2b3c\n", "#1a2b3c4d", "", 1, None],
    "position": ["top-left", "", "Bottom-Left", 1, None],
    "locale": [
        *("", "e", "en_US", "en-", "english-language-tag", "en us", "en\n", "12", 1, None),
        *("x", "x-", "x-toolongaword", "x_foo", "i", "i-", "i-klingon-x", "i-nothing", "sgn-BE-FR-x"),
    ],
    "allowed_origins": ["https://example.com", {}, 1, None, [f"https://{n}.example" for n in range(21)]],
    "nonsense": ["", None, {}],
}

BAD_ORIGINS = (
    *("", "*", "null", "example.com", "//example.com", "ftp://example.com", "javascript://example.com"),
    *("https://", "https://example.com/", "https://example.com/a", "https://example.com?q", "https://example.com#f"),
    *("https://me@example.com", "https://exa mple.com", "https://example.com:", "https://example.com:0"),
    *("https://example.com:65536", "https://example.com:abc", "https://bücher.example", "https://example.com\n"),
    *("https://[07dbb1dd]", "http://[1.2.3.4]", "https://[::12345]", "https://[1:2:3:4:5:6:7]", "https://[:::]"),
    *(f"https://{'a' * 300}.example", 1, None, ["https://example.com"]),
)

BAD_FIELDS: dict[str, Sequence[Any]] = {
    "name": ["", "  \n ", "x" * 101, 1, None, ["Corner"], "a\0b", "\udfff"],
    "type": ["", "Button", "modal", 1, None, ["button"]],
    "theme": ["", "Light", "blue", 1, None],
    "is_active": ["true", 1, 0, None, []],
    "settings": [None, [], "dark", 1],
    **dict.fromkeys(("id", "user_id", "created_at", "nonsense"), ("x",)),
}


async def show(owner: Person, widget: dict[str, Any]) -> dict[str, Any]:
    return await body(await owner.get(f"/api/widgets/{widget['id']}"))


async def insert(sql: asyncpg.Connection, owner: Person, count: int) -> None:
    """Give somebody widgets past the API."""
    await sql.execute(
        "INSERT INTO widgets (id, user_id, name, type, theme, settings, is_active, created_at) "
        "SELECT gen_random_uuid(), $1, 'Many', 'button', 'light', '{}', true, now() FROM generate_series(1, $2::integer)",
        owner.id,
        count,
    )


# Creating


async def test_creates_a_widget_with_what_is_usual(user: Person) -> None:
    response = await user.post("/api/widgets", json={"name": "Corner", "type": "button"})
    widget = await body(response, 201)
    assert UUID(widget["id"]).version == 7
    assert abs(datetime.now(UTC) - datetime.fromisoformat(widget["created_at"])) < timedelta(minutes=1)
    assert widget["created_at"].endswith("Z")
    assert {name: widget[name] for name in widget.keys() - {"id", "created_at"}} == {
        "user_id": user.id,
        "name": "Corner",
        "type": "button",
        "theme": "light",
        "settings": {},
        "is_active": True,
    }
    assert response.headers["Location"] == f"/api/widgets/{widget['id']}"
    assert await show(user, widget) == widget


async def test_creates_a_widget_with_everything(user: Person) -> None:
    asked = {"name": "Corner", "type": "popup", "theme": "auto", "settings": SETTINGS, "is_active": False}
    widget = await user.make_widget(**asked)
    assert {name: widget[name] for name in asked} == asked
    assert await show(user, widget) == widget


async def test_creates_each_type_and_theme(user: Person, sql: asyncpg.Connection) -> None:
    await sql.execute("UPDATE users SET is_premium = true WHERE id = $1", user.id)
    for kind in ("button", "inline", "popup", "rating", "nps"):
        assert (await user.make_widget(type=kind))["type"] == kind
    for theme in ("light", "dark", "auto"):
        assert (await user.make_widget(theme=theme))["theme"] == theme


async def test_trims_the_name_and_loses_none_of_it(user: Person) -> None:
    assert (await user.make_widget(name=f" \t{'ß' * 100}\n"))["name"] == "ß" * 100


@pytest.mark.parametrize("name", BAD_FIELDS)
async def test_refuses_a_bad_field(user: Person, name: str) -> None:
    for value in BAD_FIELDS[name]:
        asked = {"name": "Corner", "type": "button", name: value}
        found = await problem(await user.post("/api/widgets", json=asked), 422, "invalid")
        assert found["errors"].keys() == {name}, value
        assert found["errors"][name], value


async def test_needs_a_name_and_a_type(user: Person) -> None:
    found = await problem(await user.post("/api/widgets", json={}), 422, "invalid")
    assert found["errors"].keys() == {"name", "type"}


async def test_refuses_what_is_no_object(user: Person) -> None:
    for raw in (b"", b"[]", b"{", b'"name"', b'{"name": NaN}', b"\xff"):
        await problem(
            await user.post("/api/widgets", data=raw, headers={"Content-Type": "application/json"}), 400, "malformed-json"
        )
    await problem(await user.post("/api/widgets", data={"name": "Corner"}), 415, "unsupported-media-type")


# Settings


@pytest.mark.parametrize("name", GOOD_SETTINGS)
async def test_keeps_a_setting_as_it_was_given(user: Person, name: str) -> None:
    widget = await user.make_widget()
    for value in GOOD_SETTINGS[name]:
        changed = await body(await user.put(f"/api/widgets/{widget['id']}", json={"settings": {name: value}}))
        assert changed["settings"] == {name: value}


@pytest.mark.parametrize("name", BAD_SETTINGS)
async def test_refuses_a_bad_setting(user: Person, name: str) -> None:
    for value in BAD_SETTINGS[name]:
        asked = {"name": "Corner", "type": "button", "settings": {name: value}}
        found = await problem(await user.post("/api/widgets", json=asked), 422, "invalid")
        assert found["errors"].keys() == {"settings"}, value
        assert found["errors"]["settings"].keys() == {name}, value


async def test_refuses_a_bad_origin_and_says_which(user: Person) -> None:
    for origin in BAD_ORIGINS:
        asked = {"name": "Corner", "type": "button", "settings": {"allowed_origins": ["https://example.com", origin]}}
        found = await problem(await user.post("/api/widgets", json=asked), 422, "invalid")
        assert found["errors"]["settings"]["allowed_origins"].keys() == {"1"}, origin


async def test_writes_origins_as_browsers_send_them(user: Person) -> None:
    asked = ["HTTPS://Example.COM", "https://a.example:443", "http://b.example:80", "http://c.example:443"]
    widget = await user.make_widget(settings={"allowed_origins": asked})
    assert widget["settings"]["allowed_origins"] == [
        *("https://example.com", "https://a.example", "http://b.example", "http://c.example:443")
    ]


async def test_refuses_an_unknown_setting_beside_a_bad_one(user: Person) -> None:
    asked = {"name": "", "type": "button", "settings": {"colour": "#000000", "color": "black"}}
    found = await problem(await user.post("/api/widgets", json=asked), 422, "invalid")
    assert found["errors"].keys() == {"name", "settings"}
    assert found["errors"]["settings"].keys() == {"colour", "color"}
    assert all(isinstance(message, str) for messages in found["errors"]["settings"].values() for message in messages)


# Showing


async def test_shows_only_to_its_owner(user: Person, make_user: MakeUser) -> None:
    widget, other = await user.make_widget(), await make_user()
    mine = await problem(await other.get(f"/api/widgets/{widget['id']}"), 404, "not-found")
    nobodys = await problem(await other.get(f"/api/widgets/{uuid4()}"), 404, "not-found")
    assert mine["detail"] == nobodys["detail"]


async def test_finds_nothing_by_what_is_no_id(user: Person) -> None:
    for wrong in ("1", "corner", "%00", "0" * 32, f"{uuid4()}0", "%ff", "%F0%9F%8E%89"):
        await problem(await user.get(f"/api/widgets/{wrong}"), 404, "not-found")
        await problem(await user.delete(f"/api/widgets/{wrong}"), 404, "not-found")
        await problem(await user.put(f"/api/widgets/{wrong}", json={"name": "Edge"}), 404, "not-found")


async def test_finds_by_an_id_in_upper_case(user: Person) -> None:
    widget = await user.make_widget()
    assert await body(await user.get(f"/api/widgets/{widget['id'].upper()}")) == widget


async def test_is_not_to_be_kept_by_caches(user: Person) -> None:
    assert (await user.get("/api/widgets")).headers["Cache-Control"] == "no-store"


# Listing


async def test_lists_newest_first_a_page_at_a_time(user: Person) -> None:
    made = [await user.make_widget(name=str(n)) for n in range(3)]
    first = await body(await user.get("/api/widgets", params={"limit": 2}))
    assert first["items"] == [made[2], made[1]]
    second = await body(await user.get("/api/widgets", params={"limit": 2, "after": first["next"]}))
    assert second == {"items": [made[0]], "next": None}


async def test_says_that_there_is_no_more_where_the_page_is_just_full(user: Person) -> None:
    widget = await user.make_widget()
    assert await body(await user.get("/api/widgets", params={"limit": 1})) == {"items": [widget], "next": None}


async def test_skips_and_repeats_none_while_others_are_added_and_removed(user: Person) -> None:
    made = [await user.make_widget(name=str(n)) for n in range(3)]
    first = await body(await user.get("/api/widgets", params={"limit": 2}))
    await nothing(await user.delete(f"/api/widgets/{made[1]['id']}"))
    await user.make_widget(name="new")
    second = await body(await user.get("/api/widgets", params={"limit": 2, "after": first["next"]}))
    assert second == {"items": [made[0]], "next": None}


async def test_lists_twenty_where_no_limit_is_named(user: Person, sql: asyncpg.Connection) -> None:
    await insert(sql, user, 21)
    assert len((await body(await user.get("/api/widgets")))["items"]) == 20


async def test_lists_nobody_elses(user: Person, make_user: MakeUser) -> None:
    await user.make_widget()
    assert await body(await (await make_user()).get("/api/widgets")) == {"items": [], "next": None}


async def test_refuses_a_bad_page(user: Person) -> None:
    bad = {"limit": ("0", "101", "-1", "x", "1.5", ""), "after": ("", "x", "!", "ä", "a" * 99)}
    for name, value in ((name, value) for name, values in bad.items() for value in values):
        found = await problem(await user.get("/api/widgets", params={name: value}), 422, "invalid")
        assert found["errors"].keys() == {name}, value


# Updating


async def test_changes_what_is_given_and_leaves_the_rest(user: Person) -> None:
    widget = await user.make_widget(theme="dark", settings=SETTINGS)
    for change in ({"name": "Edge"}, {"type": "nps"}, {"theme": "auto"}, {"is_active": False}, {"is_active": True}):
        widget |= change
        assert await body(await user.put(f"/api/widgets/{widget['id']}", json=change)) == widget
    assert await show(user, widget) == widget


async def test_replaces_the_settings_whole(user: Person) -> None:
    widget = await user.make_widget(settings=SETTINGS)
    for settings in ({"title": "Hi"}, {"color": "#000000"}, {}):
        changed = await body(await user.put(f"/api/widgets/{widget['id']}", json={"settings": settings}))
        assert changed == {**widget, "settings": settings}
    assert (await show(user, widget))["settings"] == {}


async def test_changes_nothing_where_anything_is_wrong(user: Person) -> None:
    widget = await user.make_widget(settings=SETTINGS)
    for name, values in BAD_FIELDS.items():
        change = {"name": "Edge", "theme": "dark", "settings": {"title": "Hi"}, name: values[0]}
        await problem(await user.put(f"/api/widgets/{widget['id']}", json=change), 422, "invalid")
    wrong_settings = {"name": "Edge", "settings": {"title": "Hi", "color": "black"}}
    found = await problem(await user.put(f"/api/widgets/{widget['id']}", json=wrong_settings), 422, "invalid")
    assert found["errors"].keys() == {"settings"}
    assert await show(user, widget) == widget


async def test_refuses_to_change_nothing(user: Person) -> None:
    widget = await user.make_widget()
    await problem(await user.put(f"/api/widgets/{widget['id']}", json={}), 422, "invalid")


async def test_changes_only_what_is_ones_own(user: Person, make_user: MakeUser) -> None:
    widget, other = await user.make_widget(), await make_user()
    await problem(await other.put(f"/api/widgets/{widget['id']}", json={"name": "Mine"}), 404, "not-found")
    await problem(await other.put(f"/api/widgets/{uuid4()}", json={"name": "Mine"}), 404, "not-found")
    assert await show(user, widget) == widget


# Deleting


async def test_deletes_once(user: Person) -> None:
    widget = await user.make_widget()
    await nothing(await user.delete(f"/api/widgets/{widget['id']}"))
    await problem(await user.delete(f"/api/widgets/{widget['id']}"), 404, "not-found")
    await problem(await user.get(f"/api/widgets/{widget['id']}"), 404, "not-found")
    await problem(await user.put(f"/api/widgets/{widget['id']}", json={"name": "Edge"}), 404, "not-found")
    assert (await body(await user.get("/api/widgets")))["items"] == []


async def test_deletes_only_what_is_ones_own(user: Person, make_user: MakeUser) -> None:
    widget, other = await user.make_widget(), await make_user()
    await problem(await other.delete(f"/api/widgets/{widget['id']}"), 404, "not-found")
    assert await show(user, widget) == widget


async def test_leaves_its_feedback_when_it_is_deleted(client: TestClient, user: Person) -> None:
    widget = await user.make_widget()
    sent = await body(await client.post(f"/api/widgets/{widget['id']}/feedback", json={"message": "Stay"}), 201)
    await nothing(await user.delete(f"/api/widgets/{widget['id']}"))
    (item,) = (await user.inbox(widget_id=widget["id"]))["items"]
    assert (item["id"], item["message"], item["widget_id"]) == (sent["id"], "Stay", widget["id"])


async def test_takes_its_counters_with_it(client: TestClient, user: Person, sql: asyncpg.Connection) -> None:
    widget = await user.make_widget()
    await nothing(await client.post(f"/api/widgets/{widget['id']}/events", json={"event": "view"}))
    await body(await user.get(f"/api/widgets/{widget['id']}/stats"))
    assert await sql.fetchval("SELECT count(*) FROM widget_events WHERE widget_id = $1", widget["id"]) == 1
    await nothing(await user.delete(f"/api/widgets/{widget['id']}"))
    assert await sql.fetchval("SELECT count(*) FROM widget_events WHERE widget_id = $1", widget["id"]) == 0


# How many


async def test_lets_a_free_account_have_three(user: Person) -> None:
    for _ in range(3):
        await user.make_widget()
    await problem(await user.post("/api/widgets", json={"name": "Fourth", "type": "button"}), 403, "premium-required")
    assert len((await body(await user.get("/api/widgets")))["items"]) == 3


async def test_lets_racers_have_three_too(user: Person, sql: asyncpg.Connection) -> None:
    asked = {"name": "Racer", "type": "button"}
    responses = await asyncio.gather(*(user.post("/api/widgets", json=asked) for _ in range(20)))
    refused = [response for response in responses if response.status != 201]
    assert len(refused) == 17
    for response in refused:
        await problem(response, 403, "premium-required")
    assert await sql.fetchval("SELECT count(*) FROM widgets WHERE user_id = $1", user.id) == 3


async def test_lets_another_be_made_when_one_is_deleted(user: Person) -> None:
    made = [await user.make_widget() for _ in range(3)]
    await nothing(await user.delete(f"/api/widgets/{made[0]['id']}"))
    await user.make_widget()
    await problem(await user.post("/api/widgets", json={"name": "Fourth", "type": "button"}), 403, "premium-required")


async def test_lets_a_premium_account_have_a_hundred(user: Person, sql: asyncpg.Connection) -> None:
    await sql.execute("UPDATE users SET is_premium = true WHERE id = $1", user.id)
    await insert(sql, user, 99)
    await user.make_widget()
    found = await problem(await user.post("/api/widgets", json={"name": "Next", "type": "button"}), 403, "forbidden")
    assert "100" in found["detail"]


async def test_leaves_what_there_is_when_premium_ends(user: Person, sql: asyncpg.Connection) -> None:
    await insert(sql, user, 5)
    page = await body(await user.get("/api/widgets"))
    assert len(page["items"]) == 5
    await body(await user.put(f"/api/widgets/{page['items'][0]['id']}", json={"name": "Still mine"}))
    await problem(await user.post("/api/widgets", json={"name": "Sixth", "type": "button"}), 403, "premium-required")


async def test_a_widget_of_an_account_that_has_just_gone_is_refused(user: Person, sql: asyncpg.Connection) -> None:
    deleting = sql.transaction()
    await deleting.start()
    await sql.execute("DELETE FROM users WHERE id = $1", user.id)
    making = asyncio.create_task(user.post("/api/widgets", json={"name": "Corner", "type": "button"}))
    await someone_waits_for(sql)
    await deleting.commit()
    await problem(await making, 401, "unauthorized")
