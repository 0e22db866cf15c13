"""The configuration, from the environment and a `.env` file."""

import os
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from fw.config import RATES, Config, ConfigError, load

SECRET = "0123456789abcdef" * 2
Load = Callable[..., Config]


@pytest.fixture
def loaded(tmp_path: Path) -> Load:
    """Load the configuration from these variables alone."""

    def of(**environ: str) -> Config:
        return load(environ, tmp_path / ".env")

    return of


def refusal(loaded: Load, name: str, text: str) -> str:
    """Return why a value is refused: one line that names the variable."""
    with pytest.raises(ConfigError) as caught:
        loaded(**{name: text})
    said = str(caught.value)
    assert said.startswith(f"{name}: "), said
    assert len(said) > len(name) + 10, said
    assert said.splitlines() == [said]
    return said


def test_has_defaults_for_everything(loaded: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    config = loaded()
    expected = {
        "database_url": "",
        "listen_url": "",
        "data_dir": tmp_path / ".fw",
        "host": "127.0.0.1",
        "port": 8080,
        "web_concurrency": 1,
        "jwt_secrets": (),
        "jwt_ttl": 86400,
        "cors_origins": frozenset(),
        "trusted_proxies": 0,
        "rate_limits": RATES,
        "ip_mode": "truncated",
        "premium_self_service": False,
        "log_level": "INFO",
        "bcrypt_cost": 12,
        "db_pool": 10,
    }
    assert {name: getattr(config, name) for name in expected} == expected


def test_limits_what_anyone_may_do_unless_told_otherwise(loaded: Load) -> None:
    rates = loaded().rate_limits
    assert rates["submission"] == (60, 60)
    assert rates["submission-inbox"] == (10, 60)
    assert rates["widget-event"] == (120, 60)
    assert rates["login"] == (10, 60)
    assert rates["login-account"] == (5, 60)
    assert rates["registration"] == (10, 3600)
    assert rates["forgot"] == (10, 3600)
    assert rates["forgot-account"] == (5, 3600)
    assert rates["verification"] == (3, 3600)
    assert rates["webhook"] == (120, 3600)


def test_mails_need_an_address_to_come_from(loaded: Load) -> None:
    with pytest.raises(ConfigError, match=r"^FW_MAIL_FROM: is required with FW_SMTP_URL"):
        loaded(FW_SMTP_URL="smtp://mail.example")


def test_links_of_mails_lead_to_the_server(loaded: Load) -> None:
    assert loaded().origin == "http://127.0.0.1:8080"
    assert loaded(HOST="::1", PORT="80").origin == "http://[::1]:80"
    assert loaded(FW_PUBLIC_URL="https://feedback.example").origin == "https://feedback.example"


GOOD: list[tuple[str, str, str, Any]] = [
    ("DATABASE_URL", "postgresql://me:pw@db.example:5433/fw", "database_url", "postgresql://me:pw@db.example:5433/fw"),
    ("DATABASE_URL", "postgres://me:pw@db.example/fw", "database_url", "postgresql://me:pw@db.example/fw"),
    ("DATABASE_URL", "postgres://db/fw?sslmode=require", "database_url", "postgresql://db/fw?sslmode=require"),
    ("DATABASE_URL", "postgresql:///fw?host=/run/pg", "database_url", "postgresql:///fw?host=/run/pg"),
    ("FW_LISTEN_URL", "postgres://direct.example/fw", "listen_url", "postgresql://direct.example/fw"),
    ("FW_DATA_DIR", "/var/lib/fw", "data_dir", Path("/var/lib/fw")),
    ("HOST", "0.0.0.0", "host", "0.0.0.0"),
    ("HOST", "::", "host", "::"),
    ("PORT", "0", "port", 0),
    ("PORT", "65535", "port", 65535),
    ("PORT", " 8000 ", "port", 8000),
    ("WEB_CONCURRENCY", "1", "web_concurrency", 1),
    ("WEB_CONCURRENCY", "4", "web_concurrency", 4),
    ("FW_JWT_SECRET", SECRET, "jwt_secrets", (SECRET,)),
    ("FW_JWT_SECRET", f"{SECRET}, {SECRET[::-1]}", "jwt_secrets", (SECRET, SECRET[::-1])),
    ("FW_JWT_SECRET", "ä" * 16, "jwt_secrets", ("ä" * 16,)),
    ("FW_JWT_TTL", "1", "jwt_ttl", 1),
    ("FW_JWT_TTL", "604800", "jwt_ttl", 604800),
    ("FW_CORS_ORIGINS", "*", "cors_origins", frozenset({"*"})),
    ("FW_CORS_ORIGINS", "https://a.example", "cors_origins", frozenset({"https://a.example"})),
    (
        *("FW_CORS_ORIGINS", "https://a.example, http://localhost:5173,http://[::1]:80,", "cors_origins"),
        frozenset({"https://a.example", "http://localhost:5173", "http://[::1]:80"}),
    ),
    ("FW_CORS_ORIGINS", "capacitor://localhost", "cors_origins", frozenset({"capacitor://localhost"})),
    ("FW_TRUSTED_PROXIES", "0", "trusted_proxies", 0),
    ("FW_TRUSTED_PROXIES", "2", "trusted_proxies", 2),
    *(("FW_IP_MODE", mode, "ip_mode", mode) for mode in ("truncated", "full", "none")),
    ("FW_PREMIUM_SELF_SERVICE", "1", "premium_self_service", True),
    ("FW_PREMIUM_SELF_SERVICE", "0", "premium_self_service", False),
    *(("FW_LOG_LEVEL", level, "log_level", level) for level in ("DEBUG", "INFO", "WARNING", "ERROR")),
    ("FW_LOG_LEVEL", "debug", "log_level", "DEBUG"),
    ("FW_BCRYPT_COST", "4", "bcrypt_cost", 4),
    ("FW_BCRYPT_COST", "16", "bcrypt_cost", 16),
    ("FW_DB_POOL", "1", "db_pool", 1),
    ("FW_DB_POOL", "50", "db_pool", 50),
    *(("FW_MAIL_FROM", text, "mail_from", text) for text in ("mail@example.com", "Ä name <mail@bücher.example>")),
    ("FW_RATE_LIMITS", "off", "rate_limits", {}),
    ("FW_RATE_LIMITS", "on", "rate_limits", RATES),
    ("FW_RATE_LIMITS", "login=3/s", "rate_limits", {**RATES, "login": (3, 1)}),
    ("FW_RATE_LIMITS", "widget-event=9/s", "rate_limits", {**RATES, "widget-event": (9, 1)}),
    ("FW_RATE_LIMITS", "registration=100/d", "rate_limits", {**RATES, "registration": (100, 86400)}),
    (
        *("FW_RATE_LIMITS", " login = 20/min , login-account=7/h ", "rate_limits"),
        {**RATES, "login": (20, 60), "login-account": (7, 3600)},
    ),
    (
        *("FW_RATE_LIMITS", "login=off,registration=1/min", "rate_limits"),
        {**{name: rate for name, rate in RATES.items() if name != "login"}, "registration": (1, 60)},
    ),
]

BAD: Mapping[str, tuple[str, ...]] = {
    "DATABASE_URL": (
        "mysql://db/fw",
        "db.example",
        "postgresql:db",
        "postgresql://db:port/fw",
        "postgres://db:99999/fw",
        "http://db",
        "postgresql://db/fw?sslmode=require&channel_binding=require",
    ),
    "FW_LISTEN_URL": ("db.example:5432", "redis://db"),
    "FW_MAIL_FROM": ("mail", "mail@", "A name", "a@example.com\nBcc: b@example.com", "jörg@example.com"),
    "HOST": ("a" * 64, "ä" * 64, "a..b"),
    "REDIS_URL": ("http://db", "redis://db:port", "redis://db?nonsense=1", "redis://db?socket_timeout=long"),
    "SENTRY_DSN": ("https://sentry.example/1", "https://key@host/name", "https://key@host/1/x", "https://key@host:port/1"),
    "PORT": ("-1", "65536", "http", "8080.0", "0x50", "８０", "80 80", "1e3", "99999999999"),
    "WEB_CONCURRENCY": ("0", "-1", "all", "1000"),
    "FW_JWT_SECRET": ("short", "x" * 31, f"{SECRET},short", f"short,{SECRET}", f"{SECRET},", ",", "ä" * 15),
    "FW_JWT_TTL": ("0", "-1", "1d", "1.5", "1000000000"),
    "FW_CORS_ORIGINS": (
        *(
            "example.com",
            "https://",
            "https://a.example/",
            "https://a.example/app",
            "https://a.example?x",
            "https://me@a.example",
        ),
        *("https://a.example https://b.example", "https://a.example,b.example", "HTTPS://a.example", "null", "**"),
    ),
    "FW_TRUSTED_PROXIES": ("-1", "yes", "1.0", "1000"),
    "FW_IP_MODE": ("Full", "hash", "0"),
    "FW_PREMIUM_SELF_SERVICE": ("yes", "true", "2", "on"),
    "FW_LOG_LEVEL": ("LOUD", "10"),
    "FW_BCRYPT_COST": ("3", "17", "31", "twelve"),
    "FW_DB_POOL": ("0", "-5", "many", "100000"),
    "FW_RATE_LIMITS": (
        *("none", "10/min", "login", "login=", "login=10", "login=0/min", "login=-1/min", "login=1.5/min", "login=10/week"),
        *("signup=10/min", "login=10/min,,registration=1/h", "login=10/min;registration=1/h", "login=10/min,off", "login=on"),
    ),
}


@pytest.mark.parametrize(("name", "text", "field", "value"), GOOD)
def test_reads_a_value_that_makes_sense(loaded: Load, name: str, text: str, field: str, value: object) -> None:
    assert getattr(loaded(**{name: text}), field) == value


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in BAD.items() for text in texts])
def test_refuses_a_value_that_makes_none_in_one_line(loaded: Load, name: str, text: str) -> None:
    refusal(loaded, name, text)


@pytest.mark.parametrize("name", sorted(BAD.keys() - {"HOST"}))
def test_refuses_a_value_of_several_lines_in_one(loaded: Load, name: str) -> None:
    refusal(loaded, name, "no\nsense\r\nat all")


@pytest.mark.parametrize("name", BAD)
def test_takes_an_empty_value_for_none(loaded: Load, name: str) -> None:
    assert loaded(**{name: ""}) == loaded(**{name: "  "}) == loaded()


@pytest.mark.parametrize("origin", ["https://App.example", "https://*.example", "https://a.example:0", "https://a.example:x"])
def test_refuses_an_origin_that_no_browser_sends(loaded: Load, origin: str) -> None:
    refusal(loaded, "FW_CORS_ORIGINS", origin)


def test_ignores_what_it_does_not_know(loaded: Load) -> None:
    assert loaded(PATH="/bin", FW_NONSENSE="1") == loaded()


# The file


def test_reads_the_file(loaded: Load, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f'# ours\nPORT=8001\nexport FW_IP_MODE=full\nFW_JWT_SECRET="{SECRET}"\nHOST\n')
    config = loaded()
    assert (config.port, config.ip_mode, config.jwt_secrets, config.host) == (8001, "full", (SECRET,), "127.0.0.1")


def test_lets_the_environment_win_over_the_file(loaded: Load, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=8001\nFW_DB_POOL=7\n")
    config = loaded(PORT="8002")
    assert (config.port, config.db_pool) == (8002, 7)


def test_refuses_a_bad_value_of_the_file_unless_the_environment_has_a_good_one(loaded: Load, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=many\n")
    with pytest.raises(ConfigError, match=r"^PORT: "):
        loaded()
    assert loaded(PORT="80").port == 80


def test_does_without_a_file(tmp_path: Path) -> None:
    assert load({"PORT": "81"}, tmp_path / "nowhere" / ".env").port == 81


def test_finds_the_file_where_the_program_is_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=8001\n")
    monkeypatch.chdir(tmp_path)
    assert load({}).port == 8001


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"HOST=\xff\n", "is not in UTF-8"),
        ("PORT=8001\n".encode("utf-16"), "is not in UTF-8"),
        ("PORT=8001\n".encode("utf-16-le"), "is not text: it has NUL characters"),
        (b"FW_DATA_DIR=a\0b\n", "is not text: it has NUL characters"),
    ],
)
def test_names_the_file_that_is_no_text(loaded: Load, tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        loaded()
    assert str(caught.value) == f"{tmp_path}/.env: {said}"


def test_names_the_file_that_is_a_folder(loaded: Load, tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    with pytest.raises(ConfigError) as caught:
        loaded()
    assert str(caught.value) == f"{tmp_path}/.env: cannot be read: Is a directory"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_names_the_file_that_may_not_be_read_and_passes_over_a_closed_folder() -> None:
    """Nobody is kept from what they may do by a folder where they may do nothing."""
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        top.chmod(0o755)
        (top / "closed").mkdir(mode=0o700)
        for file in (top / ".env", top / "closed" / ".env"):
            file.write_text("PORT=8001\n")
            file.chmod(0o600)
        assert as_nobody(lambda: load({}, top / ".env").port) == f"{top}/.env: cannot be read: Permission denied"
        assert as_nobody(lambda: load({}, top / "closed" / ".env").port) == "8080"


def as_nobody(work: Callable[[], object]) -> str:
    """Return what some work returns or raises, as text, where a user without any rights does it."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Of forks beside threads: the child does nothing that waits for one.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            said = str(work())
        except BaseException as error:  # noqa: BLE001
            said = str(error)
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        said = file.read()
    os.waitpid(child, 0)
    return said


def test_takes_a_file_that_begins_with_a_mark_of_its_encoding(loaded: Load, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("PORT=8001\n".encode("utf-8-sig"))
    assert loaded().port == 8001


@pytest.mark.parametrize(
    "name", sorted({name for name, *_ in GOOD} | {"REDIS_URL", "SENTRY_DSN", "FW_PUBLIC_URL", "FW_SMTP_URL"})
)
def test_refuses_what_is_in_another_encoding(loaded: Load, name: str) -> None:
    assert refusal(loaded, name, "K\udcf6ln") == f"{name}: is not in UTF-8"


def test_refuses_a_data_directory_below_a_folder_in_another_encoding(
    loaded: Load, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    odd = tmp_path / "K\udcf6ln"
    odd.mkdir()
    monkeypatch.chdir(odd)
    for settings in ({}, {"FW_DATA_DIR": "data"}):
        with pytest.raises(ConfigError, match=r"^FW_DATA_DIR: is not in UTF-8$"):
            loaded(**settings)


# What follows from several


def test_listens_where_the_queries_go_unless_told_otherwise(loaded: Load) -> None:
    url, direct = "postgresql://pooler:6432/fw", "postgresql://db:5432/fw"
    alone, both = loaded(DATABASE_URL=url), loaded(DATABASE_URL=url, FW_LISTEN_URL=direct)
    assert (alone.direct_url, alone.is_pooled) == (url, False)
    assert (both.direct_url, both.is_pooled) == (direct, True)
    assert not loaded(DATABASE_URL=url, FW_LISTEN_URL=url).is_pooled


# Secrets


def test_shows_no_secret_when_it_is_printed(loaded: Load) -> None:
    config = loaded(
        FW_JWT_SECRET=SECRET,
        DATABASE_URL="postgresql://me:swordfish@db.example/fw",
        FW_LISTEN_URL="postgresql://me:tunafish@db.example/fw",
    )
    for shown in (repr(config), str(config), f"{config}"):
        assert SECRET not in shown
        assert "swordfish" not in shown
        assert "tunafish" not in shown


def test_shows_no_secret_when_it_refuses_one(loaded: Load) -> None:
    assert "abracadabra" not in refusal(loaded, "FW_JWT_SECRET", "abracadabra")
    assert SECRET not in refusal(loaded, "FW_JWT_SECRET", f"{SECRET},abracadabra")


@pytest.mark.parametrize(
    "url", ["mysql://me:tunafish@db/fw", "postgresql://me:tuna/fish@db/fw", "postgres://me:tunafish@db:x/fw"]
)
def test_shows_no_password_when_it_refuses_a_url(loaded: Load, url: str) -> None:
    assert "tuna" not in refusal(loaded, "DATABASE_URL", url)


def test_shows_no_key_when_it_refuses_one_of_another_service(loaded: Load) -> None:
    assert "tuna" not in refusal(loaded, "REDIS_URL", "redis://me:tuna@db:tuna")
    assert "tuna" not in refusal(loaded, "REDIS_URL", "redis://me:tuna@db?tuna=1")
    assert "tuna" not in refusal(loaded, "SENTRY_DSN", "https://tuna@host/name")
