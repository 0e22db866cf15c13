"""PUT and DELETE /api/users/profile."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from aiohttp.test_utils import TestClient

from fw.config import Config
from tests.conftest import MakeClient, MakeUser
from tests.support.bad_fields import BAD_EMAILS, BAD_IMAGES, BAD_USERNAMES
from tests.support.passwords import NEW, RESET, offer_reset
from tests.support.people import Person, body, nothing, problem
from tests.support.waiting import someone_waits_for

PATH = "/api/users/profile"
IMAGE = "https://example.com/a.png"


def other_email() -> str:
    return f"{uuid4().hex[:12]}@example.com"


async def me(user: Person) -> dict[str, Any]:
    return await body(await user.get("/api/auth/me"))


async def refused(user: Person, asked: dict[str, Any], *named: str) -> None:
    """Check that this is refused for these fields, and that nothing changes."""
    before = await me(user)
    found = await problem(await user.put(PATH, json=asked), 422, "invalid")
    assert list(found["errors"]) == list(named), (asked, found)
    assert await me(user) == before


async def test_answers_with_the_own_user(user: Person) -> None:
    found = await body(await user.put(PATH, json={"profile_image": IMAGE}))
    assert {**found, "unread_count": 0} == await me(user)
    assert found["profile_image"] == IMAGE


async def test_fields_left_out_stay(user: Person) -> None:
    before = await body(await user.put(PATH, json={"profile_image": IMAGE}))
    changed = await body(await user.put(PATH, json={"username": f"x{user.username}"}))
    assert changed == {**before, "username": f"x{user.username}"}


async def test_an_image_can_be_taken_away(user: Person) -> None:
    await body(await user.put(PATH, json={"profile_image": IMAGE}))
    assert (await body(await user.put(PATH, json={"profile_image": None})))["profile_image"] is None


async def test_changes_everything_at_once(user: Person) -> None:
    asked = {"email": other_email(), "username": f"X{user.username}", "profile_image": IMAGE}
    found = await body(await user.put(PATH, json={**asked, "current_password": user.password}))
    assert {field: found[field] for field in asked} == asked


async def test_one_logs_in_by_the_new_names(client: TestClient, user: Person) -> None:
    email, username = other_email(), f"x{user.username}"
    await body(await user.put(PATH, json={"email": email, "username": username, "current_password": user.password}))
    for name in (email, username):
        await body(await client.post("/api/auth/login", json={"login": name, "password": user.password}))
    for name in (user.email, user.username):
        response = await client.post("/api/auth/login", json={"login": name, "password": user.password})
        await problem(response, 401, "wrong-credentials")


async def test_the_token_lives_on(user: Person) -> None:
    await body(await user.put(PATH, json={"username": f"x{user.username}"}))
    assert (await me(user))["username"] == f"x{user.username}"


async def test_feedback_follows_the_new_name(client: TestClient, user: Person) -> None:
    await user.receive("before")
    await body(await user.put(PATH, json={"username": f"x{user.username}"}))
    await body(await client.post(f"/api/feedback/x{user.username}", json={"message": "after"}), 201)
    await problem(await client.post(f"/api/feedback/{user.username}", json={"message": "lost"}), 404, "not-found")
    assert [item["message"] for item in (await user.inbox())["items"]] == ["after", "before"]


async def test_another_email_needs_the_password(user: Person) -> None:
    await refused(user, {"email": other_email()}, "current_password")
    await refused(user, {"email": other_email(), "current_password": "something else"}, "current_password")
    await refused(user, {"email": other_email(), "username": f"x{user.username}"}, "current_password")


async def test_the_same_email_in_another_case_needs_no_password(user: Person) -> None:
    email = user.email.replace("@example", "@Example").upper().replace("EXAMPLE.COM", "example.com")
    assert (await body(await user.put(PATH, json={"email": email})))["email"] == email


@pytest.mark.parametrize(
    ("old", "new"), [("@busineß.example.com", "@business.example.com"), ("ß@example.com", "ss@example.com")]
)
async def test_an_address_that_is_compared_as_the_same_may_be_another(
    make_user: MakeUser, sql: asyncpg.Connection, old: str, new: str
) -> None:
    name = f"u{uuid4().hex[:12]}"
    user = await make_user(email=name + old)
    await sql.execute("UPDATE users SET email_verified_at = now() WHERE id = $1", user.id)
    token = await offer_reset(sql, user)
    await refused(user, {"email": name + new}, "current_password")
    asked = {"email": name + new, "current_password": user.password}
    assert (await body(await user.put(PATH, json=asked)))["email_verified"] is False
    # What was mailed to the old address is worth nothing now.
    await problem(await user.client.post(RESET, json={"token": token, "new_password": NEW}), 422, "invalid")


async def test_a_name_or_an_image_needs_no_password(user: Person) -> None:
    asked = {"username": f"x{user.username}", "profile_image": IMAGE, "current_password": "something else"}
    await body(await user.put(PATH, json=asked))


async def test_another_email_is_not_verified(user: Person, sql: asyncpg.Connection) -> None:
    await sql.execute("UPDATE users SET email_verified_at = now() WHERE id = $1", user.id)
    assert (await body(await user.put(PATH, json={"email": user.email.title()})))["email_verified"] is True
    asked = {"email": other_email(), "current_password": user.password}
    assert (await body(await user.put(PATH, json=asked)))["email_verified"] is False


async def test_the_own_username_can_change_its_case(user: Person) -> None:
    assert (await body(await user.put(PATH, json={"username": user.username.upper()})))["username"] == user.username.upper()


async def test_a_taken_username_is_a_conflict_in_any_case(user: Person, make_user: MakeUser) -> None:
    other, before = await make_user(), await me(user)
    for name in (other.username, other.username.upper()):
        asked = {"username": name, "profile_image": IMAGE}
        await problem(await user.put(PATH, json=asked), 409, "username-taken")
    assert await me(user) == before


async def test_a_taken_email_is_a_conflict_in_any_case(user: Person, make_user: MakeUser) -> None:
    other, before = await make_user(), await me(user)
    for email in (other.email, other.email.upper()):
        asked = {"email": email, "current_password": user.password, "profile_image": IMAGE}
        await problem(await user.put(PATH, json=asked), 409, "email-taken")
    assert await me(user) == before


async def test_of_many_at_once_exactly_one_gets_the_username(make_user: MakeUser) -> None:
    people = [await make_user() for _ in range(6)]
    name = f"w{uuid4().hex[:12]}"
    wanted = [name if number % 2 else name.upper() for number in range(6)]
    answers = await asyncio.gather(
        *(person.put(PATH, json={"username": username}) for person, username in zip(people, wanted, strict=True))
    )
    assert sorted(answer.status for answer in answers) == [200] + [409] * 5
    for person, username, answer in zip(people, wanted, answers, strict=True):
        if answer.status == 200:
            assert (await me(person))["username"] == username
        else:
            await problem(answer, 409, "username-taken")
            assert (await me(person))["username"] == person.username


async def test_two_who_swap_names_at_once_end_with_two_names(make_user: MakeUser) -> None:
    one, two = await make_user(), await make_user()
    answers = await asyncio.gather(
        one.put(PATH, json={"username": two.username}),
        two.put(PATH, json={"username": one.username}),
    )
    assert [answer.status for answer in answers] == [409, 409]
    assert {(await me(one))["username"], (await me(two))["username"]} == {one.username, two.username}


async def test_two_who_wait_for_each_others_names_are_told_that_they_are_taken(
    make_client: MakeClient, make_user: MakeUser, config: Config, sql: asyncpg.Connection
) -> None:
    """The server ends such a circle after a while, by undoing the statement of whoever sees it first: here, ours."""
    one, two = await make_user(), await make_user()
    mark = "&" if "?" in config.database_url else "?"
    # Long enough for the other side to come to wait too.
    client = await make_client(database_url=f"{config.database_url}{mark}deadlock_timeout=3s")
    await sql.execute("SET deadlock_timeout = '1h'")
    transaction = sql.transaction()
    await transaction.start()
    await sql.execute("UPDATE users SET username = $2 WHERE id = $1", one.id, f"x{one.username}")
    renaming = asyncio.create_task(replace(two, client=client).put(PATH, json={"username": one.username}))
    await someone_waits_for(sql)
    with pytest.raises(asyncpg.UniqueViolationError):
        await sql.execute("UPDATE users SET username = $2 WHERE id = $1", one.id, two.username)
    await transaction.rollback()
    await problem(await renaming, 409, "username-taken")
    assert (await me(two))["username"] == two.username


async def test_an_empty_body_is_refused(user: Person) -> None:
    for asked in ({}, {"current_password": user.password}):
        found = await problem(await user.put(PATH, json=asked), 422, "invalid")
        assert found["errors"]


async def test_refuses_what_is_no_email(user: Person) -> None:
    for email in BAD_EMAILS:
        await refused(user, {"email": email, "current_password": user.password, "profile_image": IMAGE}, "email")


async def test_refuses_what_is_no_username(user: Person) -> None:
    for username in (*BAD_USERNAMES, "admin", "Profile"):
        await refused(user, {"username": username, "profile_image": IMAGE}, "username")


async def test_refuses_what_is_no_image(user: Person) -> None:
    for image in BAD_IMAGES:
        await refused(user, {"profile_image": image, "username": f"x{user.username}"}, "profile_image")


async def test_refuses_fields_that_are_not_to_be_changed(user: Person) -> None:
    for field in ("id", "is_premium", "password", "email_verified", "created_at"):
        await refused(user, {field: True, "profile_image": IMAGE}, field)


async def test_needs_a_token(client: TestClient) -> None:
    await problem(await client.put(PATH, json={"profile_image": IMAGE}), 401, "unauthorized")
    await problem(await client.delete(PATH, json={"current_password": "something"}), 401, "unauthorized")


async def test_deletes_the_account_with_all_that_is_its_own(client: TestClient, user: Person, sql: asyncpg.Connection) -> None:
    await user.receive()
    await user.make_widget()
    await nothing(await user.delete(PATH, json={"current_password": user.password}))
    for table in ("users WHERE id", *(f"{name} WHERE user_id" for name in ("inboxes", "feedback", "widgets", "sessions"))):
        assert await sql.fetchval(f"SELECT count(*) FROM {table} = $1", user.id) == 0, table
    await problem(await client.post(f"/api/feedback/{user.username}", json={"message": "lost"}), 404, "not-found")
    for name in (user.username, user.email):
        response = await client.post("/api/auth/login", json={"login": name, "password": user.password})
        await problem(response, 401, "wrong-credentials")


async def test_a_deletion_ends_every_token_at_every_server(make_client: MakeClient, user: Person) -> None:
    other = await make_client()
    asked = {"login": user.username, "password": user.password}
    token = (await body(await other.post("/api/auth/login", json=asked)))["access_token"]
    await nothing(await user.delete(PATH, json={"current_password": user.password}))
    for value in (user.token, token):
        response = await other.get("/api/auth/me", headers={"Authorization": f"Bearer {value}"})
        await problem(response, 401, "unauthorized")


async def test_a_deletion_needs_the_password(user: Person) -> None:
    for asked in ({}, {"current_password": "something else"}, {"current_password": None}):
        found = await problem(await user.delete(PATH, json=asked), 422, "invalid")
        assert list(found["errors"]) == ["current_password"]
    await me(user)


async def test_a_deletion_without_a_body_deletes_nothing(user: Person) -> None:
    await problem(await user.delete(PATH), 400, "malformed-json")
    await me(user)


async def test_a_deletion_touches_nobody_else(user: Person, make_user: MakeUser) -> None:
    other = await make_user()
    await other.receive("still here")
    await nothing(await user.delete(PATH, json={"current_password": user.password}))
    assert (await other.inbox())["total_count"] == 1


async def test_deleting_twice_at_once_is_no_error(user: Person) -> None:
    asked = {"current_password": user.password}
    answers = await asyncio.gather(*(user.delete(PATH, json=asked) for _ in range(4)))
    assert {answer.status for answer in answers} <= {204, 401}
    assert 204 in {answer.status for answer in answers}
