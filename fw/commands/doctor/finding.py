"""What a check finds: how it stands, what was seen, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from fw.config import Config


class Status(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


class Finding(NamedTuple):
    """The outcome of a check; `advice` says what to do, and is empty if there is nothing to do."""

    status: Status
    detail: str
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is examined. If the embedded database does not run, `trouble` says why, and there is no `database_url`."""

    config: Config
    is_embedded: bool = False
    trouble: str = ""


def ok(detail: str) -> Finding:
    return Finding(Status.OK, detail)


def warning(detail: str, advice: str) -> Finding:
    return Finding(Status.WARNING, detail, advice)


def failed(detail: str, advice: str) -> Finding:
    return Finding(Status.FAILED, detail, advice)


def skipped(detail: str) -> Finding:
    return Finding(Status.SKIPPED, detail)


def told(error: BaseException, config: Config) -> str:
    """Return the message of an error in one line, without any secret of the configuration."""
    text = " ".join(str(error).split()) or type(error).__name__
    for secret in sorted(secrets(config), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def secrets(config: Config) -> set[str]:
    """Return every text in a configuration that must not be shown."""
    found = {*config.jwt_secrets, config.metrics_token, config.sentry_dsn}
    for url in (config.database_url, config.listen_url, config.redis_url, config.smtp_url):
        password = urlsplit(url).password or ""
        found |= {password, unquote(password), url if password else ""}
    return found - {""}


def place(url: str) -> str:
    """Return the part of a URL that may be shown: the host and the port."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] or parts.path or "a Unix socket"
