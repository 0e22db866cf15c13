"""The public page of an inbox, as a browser without JavaScript uses it."""

import re
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient

from tests.conftest import MakeClient, MakeUser
from tests.support.people import Person

HOSTILE = '</textarea><script>alert(1)</script>" onfocus="alert(2)&amp;\''


async def send(client: TestClient, username: str, **fields: Any) -> ClientResponse:
    """Send the form, as it is, without following where the answer leads."""
    return await client.post(f"/u/{username}", data=fields, allow_redirects=False)


def text_of(page: str) -> str:
    """Return what stands in the text area."""
    found = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", page, re.DOTALL)
    assert found, page
    return unescape(found[1])


def error_of(page: str) -> str:
    found = re.search(r'role="alert">(.*?)</p>', page)
    assert found, page
    return unescape(found[1])


async def test_shows_whose_inbox_it_is(client: TestClient, make_user: MakeUser) -> None:
    user = await make_user(profile_image="https://images.example/me.png?a=1&b=2")
    response = await client.get(f"/u/{user.username.upper()}")
    text = await response.text()
    assert (response.status, response.content_type) == (200, "text/html")
    assert f"Feedback for <bdi>{user.username}</bdi>" in text
    assert 'src="https://images.example/me.png?a=1&amp;b=2"' in text
    assert '<meta property="og:image" content="https://images.example/me.png?a=1&amp;b=2">' in text
    assert f'<meta property="og:url" content="{client.make_url("/")}u/{user.username}">' in text
    assert '<meta name="robots" content="noindex">' in text
    assert response.headers["X-Robots-Tag"] == "noindex"
    policy = response.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert user.email not in text
    assert user.id not in text


async def test_sends_and_thanks(client: TestClient, user: Person) -> None:
    response = await send(client, user.username, message="Well\r\ndone!  ")
    assert (response.status, response.headers["Location"]) == (303, f"/u/{user.username}/thanks")
    thanks = await client.get(response.headers["Location"])
    assert (thanks.status, "Thank you" in await thanks.text()) == (200, True)
    (item,) = (await user.inbox())["items"]
    assert (item["message"], item["metadata"], item["widget_id"]) == ("Well\ndone!", None, None)


async def test_a_form_of_another_site_is_welcome_and_no_cookie_is_looked_at(client: TestClient, user: Person) -> None:
    headers = {"Origin": "https://elsewhere.example", "Cookie": f"fw={user.token}", "Sec-Fetch-Site": "cross-site"}
    fields = {"message": "From afar", "campaign": "winter"}
    response = await client.post(f"/u/{user.username}", data=fields, headers=headers, allow_redirects=False)
    assert response.status == 303
    assert "Set-Cookie" not in response.headers
    assert (await user.inbox())["total_count"] == 1


async def test_a_double_click_stores_once_and_another_text_with_the_same_key_too(client: TestClient, user: Person) -> None:
    for message in ("One", "One", "Two", "One", "Two"):
        assert (await send(client, user.username, message=message, key="k")).status == 303
    assert [item["message"] for item in (await user.inbox())["items"]] == ["Two", "One"]


async def test_a_new_form_has_a_new_key(client: TestClient, user: Person) -> None:
    pages = [await (await client.get(f"/u/{user.username}")).text() for _ in range(2)]
    keys = {re.search(r'name="key" value="([^"]{36})"', page)[1] for page in pages}  # type: ignore[index]
    assert len(keys) == 2
    for key in keys:
        await send(client, user.username, message="Again!", key=key)
    assert (await user.inbox())["total_count"] == 2


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("", "Write a message first."),
        (" \r\n\t ", "Write a message first."),
        ("x" * 5001, "A message has at most 5,000 characters; this one has 5,001."),
        ("zero \0 inside", "The message has characters that cannot be stored."),
        (HOSTILE + "x" * 5000, f"A message has at most 5,000 characters; this one has {len(HOSTILE) + 5000:,}."),
    ],
)
async def test_an_error_stands_in_place_and_the_text_is_kept(
    client: TestClient, user: Person, message: str, reason: str
) -> None:
    response = await send(client, user.username, message=message, key="mine")
    page = await response.text()
    assert response.status == 422
    assert error_of(page) == reason
    assert text_of(page) == message.replace("\r\n", "\n")
    assert 'name="key" value="mine"' in page
    assert 'aria-invalid="true"' in page
    assert "<script>" not in page
    assert (await user.inbox())["total_count"] == 0


@pytest.mark.parametrize("message", ["👋" * 5000, "\n".join("a" * 2500), "x" * 5000])
async def test_what_has_5000_characters_is_taken(client: TestClient, user: Person, message: str) -> None:
    assert (await send(client, user.username, message=message.replace("\n", "\r\n"))).status == 303
    assert (await user.inbox())["items"][0]["message"] == message


async def test_a_form_without_any_field_is_answered_in_place(client: TestClient, user: Person) -> None:
    response = await client.post(f"/u/{user.username}", data="", headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert (response.status, error_of(await response.text())) == (422, "Write a message first.")


@pytest.mark.parametrize("name", ["nobody-at-all", "no", "<b>alert(1)<b>", "%00", "x" * 500, "über"])
@pytest.mark.parametrize("path", ["", "/thanks"])
async def test_an_unknown_name_has_a_friendly_page(client: TestClient, name: str, path: str) -> None:
    response = await client.get(f"/u/{name}{path}")
    text = await response.text()
    assert (response.status, response.content_type) == (404, "text/html")
    assert "There is no such page" in text
    assert "alert" not in text


async def test_sending_to_an_unknown_name_has_the_same_page(client: TestClient) -> None:
    response = await send(client, "nobody-at-all", message="Hello?")
    assert (response.status, response.content_type) == (404, "text/html")


async def test_the_limit_is_told_in_words_with_the_time_to_wait(make_client: MakeClient, make_user: MakeUser) -> None:
    client = await make_client(rate_limits={"submission-inbox": (1, 60), "submission": (60, 60)})
    user = await make_user(client=client)
    assert (await send(client, user.username, message="First")).status == 303
    response = await send(client, user.username, message="Second", key="k2")
    page = await response.text()
    assert (response.status, text_of(page)) == (429, "Second")
    assert re.fullmatch(r"A lot has been sent from your network .* Try again in \d+ seconds\.", error_of(page))
    assert 1 <= int(response.headers["Retry-After"]) <= 60
    # It is the same limit as the API's.
    assert (await client.post(f"/api/feedback/{user.username}", json={"message": "Third"})).status == 429


async def test_after_the_limit_a_long_form_is_not_read(make_client: MakeClient, make_user: MakeUser) -> None:
    client = await make_client(rate_limits={"submission-inbox": (1, 60), "submission": (60, 60)})
    user = await make_user(client=client)
    await user.receive()
    response = await send(client, user.username, message="%" * 10_000)
    page = await response.text()
    assert (response.status, text_of(page)) == (429, "")
    assert len(page) < 5000


async def test_a_key_of_any_kind_is_harmless(client: TestClient, user: Person) -> None:
    for number, key in enumerate(("k" * 1000, "\0", "\n", "🔑", "")):
        assert (await send(client, user.username, message=f"No. {number}", key=key)).status == 303
    assert (await user.inbox())["total_count"] == 5


async def test_without_the_database_the_text_is_kept(make_client: MakeClient) -> None:
    client = await make_client(database_url="postgresql://nobody@127.0.0.1:1/nowhere")
    response = await send(client, "somebody", message="Keep me")
    page = await response.text()
    assert (response.status, text_of(page)) == (503, "Keep me")
    assert error_of(page) == "This cannot be done right now. Try again in a moment."
    shown = await client.get("/u/somebody")
    assert (shown.status, shown.content_type) == (503, "text/html")
    assert shown.headers["Retry-After"]


async def test_a_body_of_another_kind_or_size_is_refused_by_a_page(client: TestClient, user: Person) -> None:
    path = f"/u/{user.username}"
    other = await client.post(path, json={"message": "JSON"})
    assert (other.status, other.content_type) == (415, "text/html")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    large = await client.post(path, data=urlencode({"message": "x" * 66_000}), headers=form)
    assert (large.status, large.content_type) == (413, "text/html")
    many = await client.post(path, data="&".join(f"f{n}=1" for n in range(200)), headers=form)
    assert many.status == 422
    bad = await client.post(path, data=b"message=%ff%fe", headers=form)
    assert bad.status == 415
    packed = await client.post(path, data=b"x", headers={**form, "Content-Encoding": "gzip"})
    assert packed.status == 415
    assert (await user.inbox())["total_count"] == 0
