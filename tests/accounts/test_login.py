"""POST /api/auth/login, by JSON and by the OAuth 2 password form."""

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import asyncpg
import bcrypt
import pytest
from aiohttp.test_utils import TestClient

from fw.accounts import passwords
from fw.config import CONFIG, Config
from fw.database.migrations import migrate
from fw.database.statements import statements
from tests.conftest import MakeClient, MakeDatabase, MakeUser
from tests.support.people import PASSWORD, Person, body, make_person, problem
from tests.support.waiting import until

PATH = "/api/auth/login"
CHECKPW = bcrypt.checkpw
HASHPW = bcrypt.hashpw

MakeServer = Callable[[int], Awaitable[TestClient]]


class Hashes:
    """Every bcrypt hash that is really computed, and the thread that did it."""

    def __init__(self) -> None:
        self.checked: list[bytes] = []
        self.made: list[bytes] = []
        self.threads: set[threading.Thread] = set()

    def checkpw(self, password: bytes, hashed: bytes) -> bool:
        self.threads.add(threading.current_thread())
        self.checked.append(hashed)
        return CHECKPW(password, hashed)

    def hashpw(self, password: bytes, salt: bytes) -> bytes:
        self.threads.add(threading.current_thread())
        self.made.append(salt)
        return HASHPW(password, salt)


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> Hashes:
    seen = Hashes()
    monkeypatch.setattr(bcrypt, "checkpw", seen.checkpw)
    monkeypatch.setattr(bcrypt, "hashpw", seen.hashpw)
    return seen


async def wrong(client: TestClient, **fields: Any) -> dict[str, Any]:
    response = await client.post(PATH, json=fields)
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    return await problem(response, 401, "wrong-credentials")


async def test_takes_a_username_an_email_or_either_in_any_case(client: TestClient, user: Person) -> None:
    for field, name in (("username", user.username), ("email", user.email), ("login", user.username), ("login", user.email)):
        for spelling in (name, name.upper()):
            answer = await body(await client.post(PATH, json={field: spelling, "password": user.password}))
            assert answer["user"]["id"] == user.id


async def test_answers_as_registering_does(client: TestClient, user: Person) -> None:
    answer = await body(await client.post(PATH, json={"username": user.username, "password": user.password}))
    assert answer.keys() == {"user", "access_token", "token_type", "expires_in"}
    assert answer["token_type"] == "bearer"
    assert answer["expires_in"] == 86400
    me = await body(await client.get("/api/auth/me", headers={"Authorization": f"Bearer {answer['access_token']}"}))
    assert me == {**answer["user"], "unread_count": 0}


async def test_tells_the_whole_life_of_a_token_late_in_a_second_too(client: TestClient, user: Person) -> None:
    """The times in a token are whole seconds."""

    async def it_is_late() -> bool:
        return time.time() % 1 > 0.6

    await until(it_is_late)
    answer = await body(await client.post(PATH, json={"username": user.username, "password": user.password}))
    assert answer["expires_in"] == 86400


async def test_sets_last_login(client: TestClient, user: Person) -> None:
    assert (await body(await user.get("/api/auth/me")))["last_login"] is None
    answer = await body(await client.post(PATH, json={"username": user.username, "password": user.password}))
    assert answer["user"]["last_login"] >= answer["user"]["created_at"]
    assert answer["user"]["last_login"].endswith("Z")


async def test_a_failure_does_not_set_last_login(client: TestClient, user: Person) -> None:
    await wrong(client, username=user.username, password="something else")
    assert (await body(await user.get("/api/auth/me")))["last_login"] is None


async def test_makes_a_token_of_its_own_each_time(client: TestClient, user: Person) -> None:
    asked = {"username": user.username, "password": user.password}
    first, second = [await body(await client.post(PATH, json=asked)) for _ in range(2)]
    assert len({user.token, first["access_token"], second["access_token"]}) == 3


@pytest.mark.parametrize(
    ("registered", "typed"),
    [
        ("{}@xn--bcher-kva.example", "{}@xn--bcher-kva.example"),
        ("{}@xn--bcher-kva.example", "{}@BÜCHER.example"),
        ("{}é@example.com", "{}E\N{COMBINING ACUTE ACCENT}@example.com"),
        ("{}e\N{COMBINING ACUTE ACCENT}@example.com", "{}e\N{COMBINING ACUTE ACCENT}@example.com"),
        ("{}ΣΑΣ@example.com", "{}σας@example.com"),
    ],
)
async def test_takes_an_email_in_any_of_its_spellings(client: TestClient, registered: str, typed: str) -> None:
    unique = uuid4().hex[:12]
    person = await make_person(client, email=registered.format(unique))
    answer = await body(await client.post(PATH, json={"email": typed.format(unique), "password": person.password}))
    assert answer["user"]["id"] == person.id


async def test_a_wrong_password_and_an_unknown_user_get_the_same_answer(client: TestClient, user: Person) -> None:
    answers = [
        await wrong(client, username=user.username, password="something else"),
        await wrong(client, username="nobody-of-that-name", password=user.password),
        await wrong(client, email="nobody@example.com", password=user.password),
        await wrong(client, login=user.username, password=""),
        await wrong(client, username=user.email, password=user.password),
        await wrong(client, email=user.username, password=user.password),
        await wrong(client, login="no such\nname", password=user.password),
    ]
    for answer in answers:
        del answer["request_id"]
    assert all(answer == answers[0] for answer in answers)


async def test_an_unknown_user_costs_exactly_one_hash_as_dear_as_a_real_one(client: TestClient, hashes: Hashes) -> None:
    for field, name in (("username", "nobody-of-that-name"), ("email", "nobody@example.com"), ("login", "no name")):
        hashes.checked.clear()
        await wrong(client, **{field: name}, password=PASSWORD)
        assert [hashed[:7] for hashed in hashes.checked] == [b"$2b$04$"]
        assert hashes.made == []


async def test_a_wrong_password_costs_exactly_one_hash(client: TestClient, user: Person, hashes: Hashes) -> None:
    await wrong(client, username=user.username, password="something else")
    assert [hashed[:7] for hashed in hashes.checked] == [b"$2b$04$"]
    assert hashes.made == []


def costs(hashes: list[bytes]) -> list[int]:
    return [int(hashed.split(b"$")[2]) for hashed in hashes]


@pytest.fixture
async def alone(make_database: MakeDatabase, make_client: MakeClient) -> MakeServer:
    """Start servers of a database of their own, with the cost of hashes that a test likes."""
    url = make_database()
    migrate(Config(database_url=url))

    async def make(cost: int) -> TestClient:
        return await make_client(database_url=url, bcrypt_cost=cost)

    return make


async def test_an_unknown_user_costs_a_hash_of_todays_cost_where_there_is_no_account(alone: MakeServer, hashes: Hashes) -> None:
    await wrong(await alone(6), login="nobody-of-that-name", password=PASSWORD)
    assert (costs(hashes.checked), hashes.made) == ([6], [])


@pytest.mark.parametrize("cost", [4, 6, 9])
async def test_a_failure_costs_the_same_whatever_costs_are_stored(alone: MakeServer, hashes: Hashes, cost: int) -> None:
    people = [await make_person(await alone(stored)) for stored in (5, 8, 4)]
    client = await alone(cost)
    for name in ("nobody-of-that-name", "nobody@example.com", *(person.username for person in people)):
        hashes.checked.clear()
        hashes.made.clear()
        await wrong(client, login=name, password="something else")
        assert sum(2**spent for spent in costs(hashes.checked)) == 2**8, (name, costs(hashes.checked))
        assert hashes.made == []


async def test_a_failure_takes_a_thread_once(alone: MakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or it would wait in the queue more often than that of an unknown user."""
    person, _ = await make_person(await alone(4)), await make_person(await alone(7))
    submitted: list[object] = []
    submit = ThreadPoolExecutor.submit

    def note(pool: ThreadPoolExecutor, work: Any, /, *arguments: Any, **more: Any) -> Any:
        if pool._thread_name_prefix == "bcrypt":
            submitted.append(work)
        return submit(pool, work, *arguments, **more)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", note)
    client = await alone(5)
    for name, password, status in (
        ("nobody-of-that-name", PASSWORD, 401),
        (person.username, "something else", 401),
        (person.username, PASSWORD, 200),
    ):
        submitted.clear()
        assert (await client.post(PATH, json={"login": name, "password": password})).status == status
        assert len(submitted) == 1, name


@pytest.mark.parametrize(("old", "new"), [(4, 6), (6, 4)])
async def test_a_login_renews_a_hash_of_another_cost(alone: MakeServer, hashes: Hashes, old: int, new: int) -> None:
    before, client = await alone(old), await alone(new)
    person = await make_person(before)
    asked = {"login": person.username, "password": person.password}
    for checked, made in ((old, [new]), (new, [])):
        hashes.checked.clear()
        hashes.made.clear()
        await body(await client.post(PATH, json=asked))
        assert (costs(hashes.checked), costs(hashes.made)) == ([checked], made)
    hashes.checked.clear()
    await wrong(client, login="nobody-of-that-name", password=PASSWORD)
    await wrong(client, login=person.username, password="something else")
    assert costs(hashes.checked) == [new, new]
    await body(await person.get("/api/auth/me"))
    await body(await before.post(PATH, json=asked))


async def test_a_failure_renews_no_hash(alone: MakeServer, hashes: Hashes) -> None:
    person, client = await make_person(await alone(4)), await alone(6)
    hashes.made.clear()
    await wrong(client, login=person.username, password="something else")
    assert hashes.made == []


async def test_logins_at_once_that_renew_a_hash_all_succeed(alone: MakeServer) -> None:
    person, client = await make_person(await alone(4)), await alone(5)
    asked = {"login": person.username, "password": person.password}
    answers = await asyncio.gather(*(client.post(PATH, json=asked) for _ in range(6)))
    for answer in answers:
        await body(answer)


async def test_a_password_change_succeeds_beside_a_login_that_renews_its_hash(
    alone: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    person, client = await make_person(await alone(4)), await alone(5)
    checked, go_on = threading.Event(), threading.Event()

    def wait_and_hash(password: bytes, salt: bytes) -> bytes:
        checked.set()
        go_on.wait(30)
        return HASHPW(password, salt)

    monkeypatch.setattr(bcrypt, "hashpw", wait_and_hash)
    change = {"current_password": person.password, "new_password": "another " + PASSWORD}
    changing = asyncio.create_task(person.post("/api/auth/password", json=change))
    try:
        await asyncio.to_thread(checked.wait, 30)
        monkeypatch.setattr(bcrypt, "hashpw", HASHPW)
        await body(await client.post(PATH, json={"login": person.username, "password": person.password}))
    finally:
        go_on.set()
    assert (await changing).status == 204


async def test_the_highest_cost_is_one_look_up(sql: asyncpg.Connection) -> None:
    async with sql.transaction():
        # A table of a few rows is read as fast as an index of it.
        await sql.execute("SET LOCAL enable_seqscan = off")
        await sql.execute("SET LOCAL enable_bitmapscan = off")
        plan = await sql.fetch(f"EXPLAIN {statements()['users.credentials']}", "ann", None)
    lines = "\n".join(row[0] for row in plan)
    assert "Limit" in lines, lines
    assert "users_cost_key" in lines, lines


async def test_hashes_are_never_computed_on_the_event_loop(client: TestClient, hashes: Hashes) -> None:
    person = await make_person(client)
    await body(await client.post(PATH, json={"login": person.email, "password": person.password}))
    change = {"current_password": person.password, "new_password": "another " + PASSWORD}
    assert (await person.post("/api/auth/password", json=change)).status == 204
    assert (len(hashes.made), len(hashes.checked)) == (2, 2)
    assert threading.main_thread() not in hashes.threads
    assert {thread.name.partition("_")[0] for thread in hashes.threads} == {"bcrypt"}


async def test_too_many_hashes_at_once_are_refused_and_the_others_done(
    client: TestClient, user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def wait_and_check(password: bytes, hashed: bytes) -> bool:
        go_on.wait(30)
        return CHECKPW(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", wait_and_check)
    monkeypatch.setattr(passwords, "WAITING", 1 - (os.cpu_count() or 1))
    asked = {"login": user.username, "password": user.password}
    tasks = [asyncio.create_task(client.post(PATH, json=asked)) for _ in range(5)]

    async def all_but_one_are_answered() -> bool:
        return sum(task.done() for task in tasks) == 4

    try:
        await until(all_but_one_are_answered)
    finally:
        go_on.set()
        answers = await asyncio.gather(*tasks)
    assert sorted(answer.status for answer in answers) == [200, 503, 503, 503, 503]
    for answer in answers:
        if answer.status == 503:
            await problem(answer, 503, "unavailable")
            assert int(answer.headers["Retry-After"]) > 0
    await body(await client.post(PATH, json=asked))


async def test_a_hash_that_would_take_days_is_no_ones(alone: MakeServer) -> None:
    client = await alone(4)
    user = await make_person(client)
    sql = await asyncpg.connect(client.app[CONFIG].database_url)  # type: ignore[index]
    await sql.execute("UPDATE users SET hashed_password = $2 WHERE id = $1", user.id, f"$2b$31${'.' * 53}")
    await sql.close()
    await asyncio.wait_for(wrong(client, login=user.username, password="x" * 20), 20)


async def test_64_characters_of_four_bytes_are_not_truncated(client: TestClient) -> None:
    person = await make_person(client, password="🔑" * 64)
    await body(await client.post(PATH, json={"login": person.username, "password": "🔑" * 64}))
    await wrong(client, login=person.username, password="🔑" * 63)
    await wrong(client, login=person.username, password="🔑" * 63 + "🚪")
    await wrong(client, login=person.username, password="🔑" * 65)


async def test_passwords_that_share_their_first_72_bytes_differ(client: TestClient) -> None:
    person = await make_person(client, password="x" * 200 + "y")
    await wrong(client, login=person.username, password="x" * 200 + "z")
    await wrong(client, login=person.username, password="x" * 72)
    await body(await client.post(PATH, json={"login": person.username, "password": "x" * 200 + "y"}))


async def test_outer_spaces_belong_to_the_password(client: TestClient) -> None:
    for password in ("  two at each end  ", "\ttab and newline\n", "\N{NO-BREAK SPACE}other space\u3000"):
        person = await make_person(client, password=password)
        await body(await client.post(PATH, json={"login": person.username, "password": password}))
        await wrong(client, login=person.username, password=password.strip())


async def test_passwords_are_compared_exactly(client: TestClient) -> None:
    person = await make_person(client, password="Ångström ﬁne")
    for password in ("ångström ﬁne", "A\N{COMBINING RING ABOVE}ngström ﬁne", "Ångström fine"):
        await wrong(client, login=person.username, password=password)


async def test_takes_exactly_one_name(client: TestClient, user: Person) -> None:
    for names in ([], ["username", "email"], ["email", "login"], ["username", "email", "login"]):
        asked = {**dict.fromkeys(names, user.email), "password": user.password}
        found = await problem(await client.post(PATH, json=asked), 422, "invalid")
        assert list(found["errors"]) == ["login"]


async def test_refuses_what_is_no_login(client: TestClient) -> None:
    fields: dict[str, list[Any]] = {
        "login": ["", 1, None, True, ["ann"], {}, "x" * 321, "a\0b", "\ud800"],
        "password": [1, None, True, ["secret"], {}, "a\0b", "\ud800"],
        "remember": [True],
    }
    for field, values in fields.items():
        for value in values:
            asked = {"login": "ann", "password": PASSWORD, field: value}
            found = await problem(await client.post(PATH, json=asked), 422, "invalid")
            assert list(found["errors"]) == [field], value


async def test_a_password_is_required(client: TestClient, user: Person) -> None:
    found = await problem(await client.post(PATH, json={"login": user.username}), 422, "invalid")
    assert list(found["errors"]) == ["password"]


async def test_a_login_that_meets_a_password_change_fails(
    client: TestClient, user: Person, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked, go_on = threading.Event(), threading.Event()

    def check_and_wait(password: bytes, hashed: bytes) -> bool:
        same = CHECKPW(password, hashed)
        checked.set()
        go_on.wait(30)
        return same

    monkeypatch.setattr(bcrypt, "checkpw", check_and_wait)
    under_way = asyncio.create_task(client.post(PATH, json={"login": user.username, "password": user.password}))
    try:
        await asyncio.to_thread(checked.wait, 30)
        await sql.execute("SELECT password_change($1, 0, 'another', NULL)", user.id)
    finally:
        go_on.set()
    await problem(await under_way, 401, "wrong-credentials")


async def test_takes_the_oauth2_password_form(client: TestClient, user: Person) -> None:
    for name in (user.username, user.username.upper(), user.email, user.email.upper()):
        for more in ({}, {"grant_type": "password", "scope": "", "client_id": "app", "client_secret": "s"}):
            answer = await body(await client.post(PATH, data={"username": name, "password": user.password, **more}))
            assert answer["user"]["id"] == user.id
            assert answer["token_type"] == "bearer"


async def test_the_form_takes_any_password(client: TestClient, make_user: MakeUser) -> None:
    person = await make_user(password=" +&=%20 🔑 ü ")
    await body(await client.post(PATH, data={"username": person.username, "password": person.password}))


async def test_the_form_refuses_a_wrong_password(client: TestClient, user: Person) -> None:
    response = await client.post(PATH, data={"username": user.username, "password": "something else"})
    await problem(response, 401, "wrong-credentials")


async def test_the_form_is_validated(client: TestClient) -> None:
    forms: list[tuple[str, dict[str, str]]] = [
        ("grant_type", {"username": "ann", "password": PASSWORD, "grant_type": "client_credentials"}),
        ("remember", {"username": "ann", "password": PASSWORD, "remember": "1"}),
        ("password", {"username": "ann"}),
        ("username", {"password": PASSWORD}),
        ("username", {"username": "a\0b", "password": PASSWORD}),
    ]
    for field, form in forms:
        found = await problem(await client.post(PATH, data=form), 422, "invalid")
        assert list(found["errors"]) == [field]


async def test_a_form_of_too_many_fields_is_refused(client: TestClient) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    for raw in (b"a&" * 32_000, b"&" * 100, b"&".join(b"x%d=1" % number for number in range(101))):
        found = await problem(await client.post(PATH, data=raw, headers=headers), 422, "invalid")
        assert found["errors"] == {"_schema": ["Must have at most 100 fields."]}
    found = await problem(await client.post(PATH, data=b"&".join([b"x=1"] * 100), headers=headers), 422, "invalid")
    assert found["errors"]["x"] == ["Unknown field."]


async def test_of_a_field_that_comes_twice_in_a_form_the_first_counts(client: TestClient, user: Person) -> None:
    asked = [("username", user.username), ("password", PASSWORD), ("password", "another"), ("username", "nobody")]
    await body(await client.post(PATH, data=asked))


async def test_the_form_in_another_charset_is_refused(client: TestClient) -> None:
    for charset in ("nonsense", "hex", "utf-8"):
        headers = {"Content-Type": f"application/x-www-form-urlencoded; charset={charset}"}
        response = await client.post(PATH, data=b"username=\xff\xfe&password=\xff", headers=headers)
        await problem(response, 415, "unsupported-media-type")


async def test_a_form_of_parts_is_refused(client: TestClient) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    response = await client.post(PATH, data=b"--x--", headers=headers)
    await problem(response, 415, "unsupported-media-type")


async def test_works_at_another_server_of_the_same_database(make_client: MakeClient, user: Person) -> None:
    other = await make_client()
    answer = await body(await other.post(PATH, json={"login": user.username, "password": user.password}))
    headers = {"Authorization": f"Bearer {answer['access_token']}"}
    assert (await body(await user.client.get("/api/auth/me", headers=headers)))["id"] == user.id


@pytest.mark.parametrize("charset", ["punycode", "utf-16", "idna", "utf-7"])
async def test_a_form_in_another_encoding_is_refused_undecoded(client: TestClient, charset: str) -> None:
    headers = {"Content-Type": f"application/x-www-form-urlencoded; charset={charset}"}
    response = await client.post("/api/auth/login", data=b"username=a&password=b", headers=headers)
    await problem(response, 415, "unsupported-media-type")
