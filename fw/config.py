"""The configuration: one frozen dataclass, read once from the environment and an optional `.env` file."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from email.utils import parseaddr
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeVar
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web
from dotenv import dotenv_values
from email_validator import EmailNotValidError, validate_email

T = TypeVar("T")
Choice = TypeVar("Choice", bound=str)
IpMode = Literal["truncated", "full", "none"]
LogFormat = Literal["json", "text"]
Rate = tuple[int, int]
"""How many in how many seconds."""

SECRET_BYTES: Final = 32
"""The least length of a signing secret: the size of HS256's hash (RFC 7518, 3.2)."""
COSTS: Final = (4, 16)
"""The range of bcrypt's cost: from its lowest to about four seconds a hash. Its highest, 31, takes more than a day."""
UNITS: Final = {"s": 1, "min": 60, "h": 3600, "d": 86400}
RATES: Final[Mapping[str, Rate]] = {
    "submission": (60, 60),
    "submission-inbox": (10, 60),
    "widget-event": (120, 60),
    "login": (10, 60),
    "login-account": (5, 60),
    "registration": (10, 3600),
    "forgot": (10, 3600),
    "forgot-account": (5, 3600),
    "verification": (3, 3600),
    "webhook": (120, 3600),
}

LIBPQ_ALONE: Final = frozenset(
    (
        "channel_binding connect_timeout fallback_application_name gssdelegation gssencmode hostaddr keepalives "
        "keepalives_count keepalives_idle keepalives_interval load_balance_hosts max_protocol_version "
        "min_protocol_version oauth_client_id oauth_client_secret oauth_issuer oauth_scope replication require_auth "
        "requirepeer requiressl scram_client_key scram_server_key sslcertmode sslcompression sslcrldir sslkeylogfile "
        "sslsni"
    ).split()
)
"""Parameters of libpq that asyncpg sends on as settings of the server, which refuses the connection: it knows none of them."""
ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:(?P<port>[0-9]{1,5}))?")


class ConfigError(Exception):
    """Something that the operator has to mend, above all a wrong setting; the message is one line that names it."""


def utf8(text: str) -> str:
    """Refuse a text that came in another encoding: Python hands its bytes on as lone surrogates. Raises `ValueError`."""
    try:
        text.encode()
    except UnicodeError:
        raise ValueError("is not in UTF-8") from None
    return text


def parse_folder(text: str) -> Path:
    """Return the whole path of a folder, all of it in UTF-8, for logs and URLs contain it. Raises `ConfigError`."""
    path = Path(text).absolute()
    try:
        utf8(str(path))
    except ValueError as error:
        raise ConfigError(f"FW_DATA_DIR: {error}") from None
    return path


def parse_postgres_url(text: str) -> str:
    """Return the URL in the one spelling that all drivers take (Heroku still says `postgres://`)."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in ("postgres", "postgresql"):
        raise ValueError("is not a PostgreSQL URL (postgresql://user:password@host:port/database)")
    try:
        _ = urlsplit(text).port
    except ValueError:
        # The parser's own message may quote the password.
        raise ValueError("its port is not a number; in a password '/', '?', '#' and '@' have to be percent-encoded") from None
    if alone := LIBPQ_ALONE & dict(parse_qsl(urlsplit(text).query, keep_blank_values=True)).keys():
        raise ValueError(f"has {', '.join(sorted(alone))}, which only one of the two drivers here takes: leave it out")
    return f"postgresql://{rest}"


def parse_host(text: str) -> str:
    try:
        text.encode("idna")
    except UnicodeError:
        raise ValueError("is neither the name of a host nor an address") from None
    return text


def parse_redis_url(text: str) -> str:
    if not re.match(r"(rediss?|unix)://", text):
        raise ValueError("is not a Redis URL (redis://host:6379)")
    if find_spec("redis") is None:
        raise ValueError("is set, and the Redis driver is not installed (pip install 'feedbackwave[redis]')")
    from redis import ConnectionPool

    try:
        # This checks the whole URL, and connects to nothing.
        ConnectionPool.from_url(text).make_connection()
    except (TypeError, ValueError):
        # The driver's own message may quote the password.
        raise ValueError("is not a Redis URL that its driver takes (redis://user:password@host:6379/0)") from None
    return text


def parse_sentry_dsn(text: str) -> str:
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


def parse_public_url(text: str) -> str:
    match = ORIGIN.fullmatch(text)
    if not match or not text.startswith(("http://", "https://")) or not 1 <= int(match["port"] or 1) <= 65535:
        raise ValueError("is not an origin of http or https (https://feedback.example.com, in lower case, without a path)")
    return text


def parse_smtp_url(text: str) -> str:
    """Take `smtp://[user:password@]host[:port]` or `smtps://...`. The errors do not quote the password."""
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


def parse_mail_from(text: str) -> str:
    """Take `mail@example.com` or `A name <mail@example.com>`."""
    if not text.isprintable():
        raise ValueError("has characters that no header may have")
    try:
        validate_email(parseaddr(text)[1], check_deliverability=False, allow_smtputf8=False)
    except EmailNotValidError:
        raise ValueError("is not an e-mail address (mail@example.com, or A name <mail@example.com>)") from None
    return text


def whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,10}", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}, not {text!r}")
        return int(text)

    return parse


def one_of(*choices: Choice) -> Callable[[str], Choice]:
    def parse(text: str) -> Choice:
        for choice in choices:
            if text == choice:
                return choice
        raise ValueError(f"must be one of {', '.join(choices)}, not {text!r}")

    return parse


def parse_log_level(text: str) -> str:
    return one_of("DEBUG", "INFO", "WARNING", "ERROR")(text.upper())


def parse_switch(text: str) -> bool:
    return one_of("0", "1")(text) == "1"


def parse_secrets(text: str) -> tuple[str, ...]:
    found = tuple(secret.strip() for secret in text.split(","))
    if any(len(secret.encode()) < SECRET_BYTES for secret in found):
        raise ValueError(f"each secret must have at least {SECRET_BYTES} bytes (try: openssl rand -hex 32)")
    return found


def parse_origins(text: str) -> frozenset[str]:
    found = frozenset(part.strip() for part in text.split(",") if part.strip())
    for origin in found - {"*"}:
        match = ORIGIN.fullmatch(origin)
        if not match or not 1 <= int(match["port"] or 1) <= 65535:
            raise ValueError(f"{origin!r} is not an origin (scheme://host[:port], in lower case, without a path) and not *")
    return found


def parse_rates(text: str) -> Mapping[str, Rate]:
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


class Source(NamedTuple):
    """What a setting is read from, and how."""

    variable: str
    parse: Callable[[str], object]


def setting(variable: str, parse: Callable[[str], T], default: Callable[[], T] | T, *, is_secret: bool = False) -> T:
    """Return the field of a setting. A default that is a function is called for each configuration."""
    found: T = field(
        default_factory=default if callable(default) else lambda: default,
        repr=not is_secret,
        metadata={"source": Source(variable, parse)},
    )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings. `database_url` and `jwt_secrets` are empty until the embedded database has provided them."""

    database_url: str = setting("DATABASE_URL", parse_postgres_url, "", is_secret=True)
    listen_url: str = setting("FW_LISTEN_URL", parse_postgres_url, "", is_secret=True)
    data_dir: Path = setting("FW_DATA_DIR", parse_folder, lambda: parse_folder(".fw"))  # noqa: RUF009
    host: str = setting("HOST", parse_host, "127.0.0.1")
    port: int = setting("PORT", whole(0, 65535), 8080)
    redis_url: str = setting("REDIS_URL", parse_redis_url, "", is_secret=True)
    web_concurrency: int = setting("WEB_CONCURRENCY", whole(1, 256), 1)
    jwt_secrets: tuple[str, ...] = setting("FW_JWT_SECRET", parse_secrets, (), is_secret=True)
    jwt_ttl: int = setting("FW_JWT_TTL", whole(1, 10 * 365 * 86400), 86400)
    cors_origins: frozenset[str] = setting("FW_CORS_ORIGINS", parse_origins, frozenset())
    trusted_proxies: int = setting("FW_TRUSTED_PROXIES", whole(0, 20), 0)
    rate_limits: Mapping[str, Rate] = setting("FW_RATE_LIMITS", parse_rates, lambda: dict(RATES))
    ip_mode: IpMode = setting("FW_IP_MODE", one_of("truncated", "full", "none"), "truncated")  # noqa: RUF009
    premium_self_service: bool = setting("FW_PREMIUM_SELF_SERVICE", parse_switch, False)
    metrics_token: str = setting("FW_METRICS_TOKEN", str, "", is_secret=True)
    sentry_dsn: str = setting("SENTRY_DSN", parse_sentry_dsn, "", is_secret=True)
    public_url: str = setting("FW_PUBLIC_URL", parse_public_url, "")
    pages: bool = setting("FW_PAGES", parse_switch, True)
    front_page: bool = setting("FW_FRONT_PAGE", parse_switch, True)
    smtp_url: str = setting("FW_SMTP_URL", parse_smtp_url, "", is_secret=True)
    webhook_allow_private: bool = setting("FW_WEBHOOK_ALLOW_PRIVATE", parse_switch, False)
    mail_from: str = setting("FW_MAIL_FROM", parse_mail_from, "")
    log_format: LogFormat = setting("FW_LOG_FORMAT", one_of("json", "text"), "json")  # noqa: RUF009
    log_level: str = setting("FW_LOG_LEVEL", parse_log_level, "INFO")
    bcrypt_cost: int = setting("FW_BCRYPT_COST", whole(*COSTS), 12)
    db_pool: int = setting("FW_DB_POOL", whole(1, 1000), 10)
    is_embedded: bool = False
    """Whether the database is the embedded one. It is no setting: whoever starts that says so."""

    @property
    def origin(self) -> str:
        """Where links of mails lead to: where people reach the server, as far as that is known."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.public_url or f"http://{host}:{self.port}"

    @property
    def has_mail(self) -> bool:
        """Whether mail gets to anybody: it is sent or, with the embedded database, its links are logged."""
        return bool(self.smtp_url) or self.is_embedded

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
    """Read the settings in the order of their fields; the environment wins over the file. Raises `ConfigError`."""
    texts = {**read_file(dotenv), **environ}
    values: dict[str, Any] = {}
    for each in filter(lambda each: each.metadata, fields(Config)):
        source: Source = each.metadata["source"]
        text = (texts.get(source.variable) or "").strip()
        if text:
            try:
                values[each.name] = source.parse(utf8(text))
            except ValueError as error:
                raise ConfigError(f"{source.variable}: {error}") from None
    config = Config(**values)
    if config.smtp_url and not config.mail_from:
        raise ConfigError("FW_MAIL_FROM: is required with FW_SMTP_URL: the address that mails come from")
    return config


def read_file(path: Path) -> Mapping[str, str | None]:
    """Read a file of settings, if there is one and its folder is open to us. Raises `ConfigError`."""
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
