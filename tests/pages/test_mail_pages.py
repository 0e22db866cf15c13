"""The pages that mails lead to, without a browser: /forgot as a form, /unsubscribe."""

import pytest
from aiohttp.test_utils import TestClient

from fw.web.links import unsubscribe_token
from tests.conftest import SECRET, MakeClient, MakeUser
from tests.support.people import Person, body, make_person
from tests.support.postbox import Postbox

FORGOT = "/forgot"


def path_of(user: Person, secret: str = SECRET) -> str:
    return f"/unsubscribe?token={unsubscribe_token(secret, user.id)}"


async def test_without_mail_the_page_says_who_can_reset(client: TestClient) -> None:
    text = await (await client.get(FORGOT)).text()
    assert "fw user reset" in text
    assert "<form" not in text


@pytest.mark.parametrize("is_embedded", [True, False])
async def test_the_form_mails_a_link(make_client: MakeClient, box: Postbox, is_embedded: bool) -> None:
    client = await make_client(**({"is_embedded": True} if is_embedded else box.settings))
    answers = []
    for email in ("somebody-of-no-name@example.com", "nobody@example.com"):
        assert '<form method="post" action="/forgot">' in await (await client.get(FORGOT)).text()
        response = await client.post(FORGOT, data={"email": email})
        assert response.status == 200
        answers.append(await response.text())
    assert answers[0] == answers[1]
    assert "If there is an account" in answers[0]
    assert ("is in its log" in answers[0]) == is_embedded


async def test_the_form_reaches_the_account(make_client: MakeClient, box: Postbox) -> None:
    client = await make_client(**box.settings)
    user = await make_person(client)
    await client.post(FORGOT, data={"email": user.email})
    await box.mail(user.email, "Set a new password")


@pytest.mark.usefixtures("no_attempts_yet")
async def test_the_form_says_what_is_wrong_and_keeps_what_was_typed(make_client: MakeClient, box: Postbox) -> None:
    client = await make_client(**box.settings, rate_limits={"forgot": (1, 3600)})
    response = await client.post(FORGOT, data={"email": 'x"><b>'})
    text = await response.text()
    assert response.status == 422
    assert 'value="x&#34;&gt;&lt;b&gt;"' in text
    assert "not an e-mail address" in text
    await client.post(FORGOT, data={"email": "a@example.com"})
    response = await client.post(FORGOT, data={"email": "a@example.com"})
    assert response.status == 429
    assert "Try again" in await response.text()
    assert (await client.post(FORGOT, data=b"{}", headers={"Content-Type": "application/json"})).status == 415


async def test_unsubscribing_takes_a_post(client: TestClient, user: Person) -> None:
    await body(await user.put("/api/users/notifications", json={"mail": "each"}))
    response = await client.get(path_of(user))
    assert response.status == 200
    assert f'action="{path_of(user)}"' in await response.text()
    assert (await body(await user.get("/api/users/notifications")))["mail"] == "each"
    response = await client.post(path_of(user))
    assert "They are turned off" in await response.text()
    assert (await body(await user.get("/api/users/notifications")))["mail"] == "off"


async def test_unsubscribing_refuses_other_tokens(client: TestClient, user: Person, make_user: MakeUser) -> None:
    other = await make_user()
    mixed = f"/unsubscribe?token={unsubscribe_token(SECRET, user.id)[:20]}{unsubscribe_token(SECRET, other.id)[20:]}"
    paths = ["/unsubscribe", "/unsubscribe?token=", "/unsubscribe?token=💩", "/unsubscribe?token=" + "A" * 64]
    for path in (*paths, mixed, path_of(user, "x" * 32), path_of(user)[:-1], path_of(user) + "="):
        for method in ("GET", "POST"):
            response = await client.request(method, path)
            assert response.status == 404, path
            assert response.content_type == "text/html"


async def test_unsubscribing_outlives_a_replaced_secret_and_pages_that_are_off(make_client: MakeClient, user: Person) -> None:
    await body(await user.put("/api/users/notifications", json={"mail": "each"}))
    client = await make_client(jwt_secrets=("n" * 32, SECRET), pages=False)
    assert (await client.post(path_of(user))).status == 200
    assert (await body(await user.get("/api/users/notifications")))["mail"] == "off"


async def test_an_account_that_is_gone_is_unsubscribed_too(client: TestClient, user: Person) -> None:
    await user.delete("/api/users/profile", json={"current_password": user.password})
    assert (await client.post(path_of(user))).status == 200
