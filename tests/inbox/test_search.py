"""Text search: patterns, tried in the real PostgreSQL."""

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fw.inbox.search import SCRIPTS_WITH_CASES, pattern
from tests.support.people import Person

STORED = st.characters(blacklist_categories=("Cs",), blacklist_characters="\0")
TEXTS = st.text(STORED, min_size=1, max_size=30)


def one_to_one(character: str) -> bool:
    """Tell whether a character in another case is one character, and the same one when folded."""
    forms = (character.upper(), character.lower(), character.casefold())
    return all(len(form) == 1 and form.casefold() == character.casefold() for form in forms)


@pytest.fixture(scope="module")
def postgres(server_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server_url, autocommit=True) as connection:
        yield connection


def finds(postgres: psycopg.Connection, message: str, text: str) -> bool:
    """Search as the statements of the inbox do."""
    found = postgres.execute('SELECT %s::text COLLATE "C" ~ %s::text', [message, pattern(text)]).fetchone()
    assert found is not None
    return bool(found[0])


def misses(postgres: psycopg.Connection, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the pairs of a message and a text that it is not found by."""
    rows = postgres.execute(
        "SELECT t.message, t.text FROM unnest(%s::text[], %s::text[], %s::text[]) AS t (message, text, pattern)"
        ' WHERE NOT t.message COLLATE "C" ~ t.pattern',
        [[message for message, _ in pairs], [text for _, text in pairs], [pattern(text) for _, text in pairs]],
    )
    return [(message, text) for message, text in rows]


def all_cases() -> dict[str, set[str]]:
    """Return all characters that differ by case alone, by what they fold to."""
    cases: defaultdict[str, set[str]] = defaultdict(set)
    for character in map(chr, range(sys.maxunicode + 1)):
        if character.casefold() != character:
            cases[character.casefold()].add(character)
    return cases


def test_every_character_that_folds_is_looked_at_and_few_others() -> None:
    folding = {number for number in range(sys.maxunicode + 1) if chr(number).casefold() != chr(number)}
    looked_at = {number for script in SCRIPTS_WITH_CASES for number in script}
    missed = sorted(map(hex, folding - looked_at))
    assert not missed, f"SCRIPTS_WITH_CASES lacks {', '.join(missed)}"
    assert len(looked_at) < 10_000


@given(before=st.text(STORED, max_size=10), text=TEXTS, after=st.text(STORED, max_size=10))
@example(before="", text="***=a", after="")
@example(before="", text="***:(?i)\\m\\Z", after="")
@example(before="a", text="\n", after="b")
@example(before="", text="\\", after="\\")
@example(before="", text="[[:alpha:]]{2,}?", after="")
def test_text_is_found_where_it_stands(postgres: psycopg.Connection, before: str, text: str, after: str) -> None:
    assert finds(postgres, before + text + after, text)


@given(text=st.text(STORED.filter(one_to_one), min_size=1, max_size=30))
@example(text="Οδυσσεύς")
@example(text="Straẞe".replace("ẞ", "ſ"))
@example(text="Привет ǅ K Å µ")
def test_text_is_found_in_any_case(postgres: psycopg.Connection, text: str) -> None:
    forms = {text, text.upper(), text.lower(), text.casefold(), text.swapcase()}
    assert misses(postgres, [(message, wanted) for message in forms for wanted in forms]) == []


@given(message=st.text("ab.*[]()\\^$+?{}|-%_\n", max_size=12), text=st.text("ab.*[]()\\^$+?{}|-%_\n", min_size=1, max_size=4))
def test_text_is_found_nowhere_else(postgres: psycopg.Connection, message: str, text: str) -> None:
    assert finds(postgres, message, text) == (text in message)


@given(message=st.text("aAbBßſsSσςΣиИ ", max_size=12), text=st.text("aAbBſsSσςΣиИ ", min_size=1, max_size=4))
def test_text_in_another_case_is_found_nowhere_else(postgres: psycopg.Connection, message: str, text: str) -> None:
    # Folded one by one: an ß is not torn into two.
    fold = str.maketrans({character: character.casefold() for character in "ABſSςΣИ"})
    assert finds(postgres, message, text) == (text.translate(fold) in message.translate(fold))


def test_every_character_is_found_by_every_other_of_its_cases(postgres: psycopg.Connection) -> None:
    pairs = [
        (message, text)
        for folded, characters in all_cases().items()
        for message in {*characters, folded}
        for text in characters
    ]
    assert len(pairs) > 3000
    assert misses(postgres, pairs) == []


def test_every_folded_character_finds_its_cases(postgres: psycopg.Connection) -> None:
    pairs = [(message, folded) for folded, found in all_cases().items() if len(folded) == 1 for message in found]
    assert len(pairs) > 1000
    assert misses(postgres, pairs) == []


def test_every_character_is_found_by_itself(postgres: psycopg.Connection) -> None:
    characters = [chr(number) for number in range(1, 0x3000) if not 0xD800 <= number < 0xE000]
    assert misses(postgres, [(f"x{character}y", f"x{character}y") for character in characters]) == []


@pytest.mark.parametrize("message", ["Straße", "STRAẞE", "STRASSE", "strasse", "Strasse", "straSSe"])
def test_a_sharp_s_finds_all_that_it_is_written_as(postgres: psycopg.Connection, message: str) -> None:
    assert finds(postgres, message, "straße")
    assert finds(postgres, message, "STRAẞE")


def test_a_whole_character_is_one_in_a_pattern(postgres: psycopg.Connection) -> None:
    # Of "ß" as "ss" a quantifier or an alternative would otherwise take a part.
    assert not finds(postgres, "as", "aß")
    assert not finds(postgres, "sb", "ßb")
    assert finds(postgres, "assb", "aßb")


@pytest.mark.parametrize("text", ["ß" * 200, "ΐ" * 200, "ﬃ" * 200, "a" * 200, "(" * 200, "*" * 200])
def test_the_longest_texts_can_be_searched(postgres: psycopg.Connection, text: str) -> None:
    assert finds(postgres, f"before {text} after", text)
    assert not finds(postgres, "before " + text[:-1] + " after" + "x" * 4000, text)


@pytest.mark.slow
async def test_finds_a_rare_word_among_100_000_messages(user: Person, sql: asyncpg.Connection) -> None:
    await sql.execute(
        """
        SELECT inbox_append(
            $1,
            array_agg(gen_random_uuid()),
            array_agg($2::timestamptz),
            array_fill(NULL::uuid, ARRAY[100000]),
            array_fill(NULL::inet, ARRAY[100000]),
            array_agg(CASE n WHEN 31415 THEN 'Eine Größenordnung: ' ELSE '' END || 'message ' || n || repeat(' and so on', 10)),
            array_fill(NULL::json, ARRAY[100000]),
            NULL,
            NULL
        )
        FROM generate_series(1, 100000) AS n
        """,
        UUID(user.id),
        datetime.now(UTC),
    )
    assert [item["cursor"] for item in await user.everything(q="GRÖẞENORDNUNG")] == [31415]
    page = await user.inbox(q="grössenordnungen")
    assert (page["items"], page["total_count"], page["unread_count"], page["cursor"]) == ([], 100_000, 100_000, 100_000)
    assert await user.everything(q="grössenordnungen") == []
    assert len(await user.everything(q="MESSAGE 9999", limit=100)) == 11
