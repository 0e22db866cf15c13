"""The token of `fw tail`: asked for once, and kept."""

import asyncio
import getpass
import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp import hdrs

from fw.commands.strangers import read_start
from fw.commands.tail.lines import read
from fw.commands.tail.troubles import UNUSABLE, in_words, no_url, reason, redirected
from fw.config import ConfigError
from fw.terminal import printable

LOGIN_SECONDS: Final = 30.0


def token_path(url: str) -> Path:
    """Return the file that keeps the token of a server after a login. Raises `ConfigError` if there is no home folder."""
    try:
        home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    except RuntimeError:
        raise ConfigError("there is no home folder to keep a token in: set FW_TOKEN") from None
    return home / "feedbackwave" / hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:16]


def kept_token(url: str) -> str:
    """Return the token that was kept, or an empty text if there is none, or none that can be sent."""
    try:
        token = token_path(url).read_text("utf-8").strip()
    except (FileNotFoundError, UnicodeError):
        return ""
    return token if can_be_sent(token) else ""


def can_be_sent(token: str) -> bool:
    return token.isascii() and token.isprintable()


def log_in(url: str) -> str:
    """Ask for a name and a password, keep the token and return it. Raises `ConfigError`."""
    if not sys.stdin or not sys.stdin.isatty():
        raise ConfigError("nobody is logged in: set FW_TOKEN, or run it in a terminal")
    print(f"Log in to {printable(url)}", file=sys.stderr)
    print("Username or e-mail: ", end="", file=sys.stderr, flush=True)
    try:
        asked = {"login": input().strip(), "password": getpass.getpass()}
    except BaseException as error:
        # The line of the question has not been ended by an answer.
        print(file=sys.stderr)
        if isinstance(error, EOFError | UnicodeError):
            raise ConfigError("nobody is logged in") from None
        raise
    token = asyncio.run(new_token(url, asked))
    path = token_path(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(token)
    return token


async def new_token(url: str, asked: Mapping[str, str]) -> str:
    """Log in and return the token. Raises `ConfigError` with the server's own words if it refuses."""
    try:
        async with (
            asyncio.timeout(LOGIN_SECONDS),
            aiohttp.ClientSession() as http,
            http.post(f"{url}/api/auth/login", json=asked, allow_redirects=False) as response,
        ):
            if hdrs.LOCATION in response.headers:
                raise redirected(response.url, response)
            answer = read(await read_start(response))
    except UNUSABLE:
        raise no_url(url) from None
    except (aiohttp.ClientError, OSError) as error:
        raise ConfigError(f"{url} {reason(error)}") from None
    match answer:
        case {"access_token": str(token)} if response.status == 200 and can_be_sent(token):
            return token
        case {"detail": str(detail)}:
            raise ConfigError(detail)
        case _:
            raise ConfigError(f"{url} answers {in_words(response.status)}, and not as FeedbackWave does")
