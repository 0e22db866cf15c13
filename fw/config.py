"""The configuration: one frozen dataclass, read once from the environment and an optional `.env` file."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Final, Literal, TypeVar, cast
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web
from dotenv import dotenv_values

T = TypeVar("T")
IpMode = Literal["truncated", "full", "none"]
LogFormat = Literal["json", "text"]
Rate = tuple[int, int]
"""How many in how many seconds."""

SECRET_BYTES: Final = 32
"""Least length of a signing secret: the size of HS256's hash (RFC 7518, 3.2)."""
COSTS: Final = (4, 16)
"""Costs of bcrypt, from its least to some four seconds a hash; its highest, 31, is more than a day."""
UNITS: Final = {"s": 1, "min": 60, "h": 3600, "d": 86400}
RATES: Final[Mapping[str, Rate]] = {
    "submission": (60, 60),
    "submission-inbox": (10, 60),
    "widget-event": (120, 60),
    "login": (10, 60),
    "login-account": (5, 60),
    "registration": (10, 3600),
}

LIBPQ_ALONE: Final = frozenset(
    {
        *("channel_binding", "connect_timeout", "fallback_application_name", "gssdelegation", "gssencmode", "hostaddr"),
        *("keepalives", "keepalives_count", "keepalives_idle", "keepalives_interval", "load_balance_hosts"),
        *(
            "max_protocol_version",
            "min_protocol_version",
            "oauth_client_id",
            "oauth_client_secret",
            "oauth_issuer",
            "oauth_scope",
        ),
        *("replication", "require_auth", "requirepeer", "requiressl", "scram_client_key", "scram_server_key"),
        *("sslcertmode", "sslcompression", "sslcrldir", "sslkeylogfile", "sslsni"),
    }
)
"""Parameters of libpq that asyncpg takes for settings of the server, which knows none of them and refuses the connection."""
ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:(?P<port>[0-9]{1,5}))?")


class ConfigError(Exception):
    """A setting that makes no sense; the message is one line that names the variable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings. `database_url` and `jwt_secrets` are empty until the embedded database has provided them."""

    database_url: str = field(default="", repr=False)
    listen_url: str = field(default="", repr=False)
    data_dir: Path = Path(".fw")
    host: str = "127.0.0.1"
    port: int = 8080
    redis_url: str = field(default="", repr=False)
    web_concurrency: int = 1
    jwt_secrets: tuple[str, ...] = field(default=(), repr=False)
    jwt_ttl: int = 86400
    cors_origins: frozenset[str] = frozenset()
    trusted_proxies: int = 0
    rate_limits: Mapping[str, Rate] = field(default_factory=lambda: dict(RATES))
    ip_mode: IpMode = "truncated"
    premium_self_service: bool = False
    metrics_token: str = field(default="", repr=False)
    sentry_dsn: str = field(default="", repr=False)
    public_url: str = ""
    smtp_url: str = field(default="", repr=False)
    log_level: str = "INFO"
    log_format: LogFormat = "json"
    bcrypt_cost: int = 12
    db_pool: int = 10

    @property
    def direct_url(self) -> str:
        """Where LISTEN, migrations and session locks work: past a transaction pooler, if there is one."""
        return self.listen_url or self.database_url

    @property
    def is_pooled(self) -> bool:
        """Whether queries go through a transaction pooler, which prepared statements do not survive."""
        return bool(self.listen_url) and self.listen_url != self.database_url


CONFIG: Final[web.AppKey[Config]] = web.AppKey("config")


def load(environ: Mapping[str, str], dotenv: Path = Path(".env")) -> Config:
    """Read the configuration; the environment wins over the file. Raises `ConfigError`."""
    values = {**read_file(dotenv), **environ}

    def read(name: str, parse: Callable[[str], T], default: T) -> T:
        text = (values.get(name) or "").strip()
        if not text:
            return default
        try:
            return parse(utf8(text))
        except ValueError as error:
            raise ConfigError(f"{name}: {error}") from None

    return Config(
        database_url=read("DATABASE_URL", postgres_url, ""),
        listen_url=read("FW_LISTEN_URL", postgres_url, ""),
        data_dir=read("FW_DATA_DIR", folder, folder(".fw")),
        host=read("HOST", host, "127.0.0.1"),
        port=read("PORT", whole(0, 65535), 8080),
        redis_url=read("REDIS_URL", redis_url, ""),
        web_concurrency=read("WEB_CONCURRENCY", whole(1, 256), 1),
        jwt_secrets=read("FW_JWT_SECRET", secrets, ()),
        jwt_ttl=read("FW_JWT_TTL", whole(1, 10 * 365 * 86400), 86400),
        cors_origins=read("FW_CORS_ORIGINS", origins, frozenset()),
        trusted_proxies=read("FW_TRUSTED_PROXIES", whole(0, 20), 0),
        rate_limits=read("FW_RATE_LIMITS", rates, dict(RATES)),
        ip_mode=cast(IpMode, read("FW_IP_MODE", one_of("truncated", "full", "none"), "truncated")),
        premium_self_service=read("FW_PREMIUM_SELF_SERVICE", switch, False),
        metrics_token=read("FW_METRICS_TOKEN", str, ""),
        sentry_dsn=read("SENTRY_DSN", sentry_dsn, ""),
        public_url=read("FW_PUBLIC_URL", public_url, ""),
        smtp_url=read("FW_SMTP_URL", smtp_url, ""),
        log_format=cast(LogFormat, read("FW_LOG_FORMAT", one_of("json", "text"), "json")),
        log_level=read("FW_LOG_LEVEL", lambda t: one_of("DEBUG", "INFO", "WARNING", "ERROR")(t.upper()), "INFO"),
        bcrypt_cost=read("FW_BCRYPT_COST", whole(*COSTS), 12),
        db_pool=read("FW_DB_POOL", whole(1, 1000), 10),
    )


def read_file(path: Path) -> Mapping[str, str | None]:
    """Read a file of settings, if it is there; it is not for us where the folder is closed to us. Raises `ConfigError`."""
    if not os.access(path, os.F_OK):
        return {}
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeError:
        raise ConfigError(f"{path}: is not in UTF-8") from None
    if "\0" in text:
        raise ConfigError(f"{path}: is not text: it has NUL characters")
    return dotenv_values(stream=StringIO(text))


def utf8(text: str) -> str:
    """Refuse what the environment had in another encoding: Python hands such bytes on as lone surrogates."""
    try:
        text.encode()
    except UnicodeError:
        raise ValueError("is not in UTF-8") from None
    return text


def folder(text: str) -> Path:
    """Return a folder by its whole path, which logs and URLs will have in them. Raises `ConfigError`."""
    path = Path(text).absolute()
    try:
        utf8(str(path))
    except ValueError as error:
        raise ConfigError(f"FW_DATA_DIR: {error}") from None
    return path


def postgres_url(text: str) -> str:
    """Return the URL in the one spelling that all drivers take (Heroku still says `postgres://`)."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in ("postgres", "postgresql"):
        raise ValueError("is not a PostgreSQL URL (postgresql://user:password@host:port/database)")
    try:
        _ = urlsplit(text).port
    except ValueError:
        # What the parser says may quote the password.
        raise ValueError("its port is not a number; in a password '/', '?', '#' and '@' have to be percent-encoded") from None
    if alone := LIBPQ_ALONE & dict(parse_qsl(urlsplit(text).query, keep_blank_values=True)).keys():
        raise ValueError(f"has {', '.join(sorted(alone))}, which only one of the two drivers here takes: leave it out")
    return f"postgresql://{rest}"


def host(text: str) -> str:
    try:
        text.encode("idna")
    except UnicodeError:
        raise ValueError("is neither the name of a host nor an address") from None
    return text


def redis_url(text: str) -> str:
    if not re.match(r"(rediss?|unix)://", text):
        raise ValueError("is not a Redis URL (redis://host:6379)")
    if find_spec("redis") is None:
        raise ValueError("is set, and the Redis driver is not installed (pip install 'feedbackwave[redis]')")
    from redis import ConnectionPool

    try:
        # This looks at all of the URL, and connects to nothing.
        ConnectionPool.from_url(text).make_connection()
    except (TypeError, ValueError):
        # What the driver says may quote the password.
        raise ValueError("is not a Redis URL that its driver takes (redis://user:password@host:6379/0)") from None
    return text


def sentry_dsn(text: str) -> str:
    if not re.fullmatch(r"https?://[^@/]+@[^/]+/.+", text):
        raise ValueError("is not a Sentry DSN (https://key@host/project)")
    if find_spec("sentry_sdk") is None:
        raise ValueError("is set, and Sentry's SDK is not installed (pip install 'feedbackwave[sentry]')")
    from sentry_sdk.utils import Dsn

    try:
        Dsn(text)
    except ValueError:
        raise ValueError("is not a Sentry DSN that its SDK takes (https://key@host/project, with a number)") from None
    return text


def public_url(text: str) -> str:
    match = ORIGIN.fullmatch(text)
    if not match or not text.startswith(("http://", "https://")) or not 1 <= int(match["port"] or 1) <= 65535:
        raise ValueError("is not an origin of http or https (https://feedback.example.com, in lower case, without a path)")
    return text


def smtp_url(text: str) -> str:
    """Take `smtp://[user:password@]host[:port]` or `smtps://...`; what is wrong is told without the password."""
    wrong = "is not an SMTP URL (smtp://user:password@host:587, or smtps:// for TLS from the first byte)"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(f"{wrong}; in a password '/', '?', '#' and '@' have to be percent-encoded") from None
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or port == 0:
        raise ValueError(wrong)
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"{wrong}, without a path")
    if bool(parts.username) != bool(parts.password):
        raise ValueError(f"{wrong}: it has to have both a user and a password, or neither")
    return text


def whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,10}", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}, not {text!r}")
        return int(text)

    return parse


def one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}, not {text!r}")
        return text

    return parse


def switch(text: str) -> bool:
    return one_of("0", "1")(text) == "1"


def secrets(text: str) -> tuple[str, ...]:
    found = tuple(secret.strip() for secret in text.split(","))
    if any(len(secret.encode()) < SECRET_BYTES for secret in found):
        raise ValueError(f"each secret must have at least {SECRET_BYTES} bytes (try: openssl rand -hex 32)")
    return found


def origins(text: str) -> frozenset[str]:
    found = frozenset(part.strip() for part in text.split(",") if part.strip())
    for origin in found - {"*"}:
        match = ORIGIN.fullmatch(origin)
        if not match or not 1 <= int(match["port"] or 1) <= 65535:
            raise ValueError(f"{origin!r} is not an origin (scheme://host[:port], in lower case, without a path) and not *")
    return found


def rates(text: str) -> Mapping[str, Rate]:
    """Parse `off`, `on`, or `name=count/unit, ...` over the defaults; `name=off` turns one off."""
    if text in ("on", "off"):
        return dict(RATES) if text == "on" else {}
    found = dict(RATES)
    for part in text.split(","):
        name, _, rate = (word.strip() for word in part.partition("="))
        match = re.fullmatch(r"([1-9][0-9]{0,5})/(s|min|h|d)", rate)
        if name not in RATES or not (match or rate == "off"):
            raise ValueError(
                f"must be on, off or NAME=COUNT/UNIT, ... with a NAME of {', '.join(RATES)} and a UNIT of {', '.join(UNITS)}"
            )
        if match:
            found[name] = (int(match[1]), UNITS[match[2]])
        else:
            del found[name]
    return found
