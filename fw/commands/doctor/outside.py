"""What `fw doctor` sees of the service from outside, and of the services that it uses."""

import asyncio
import smtplib
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import aiohttp
from aiohttp import hdrs

from fw import __version__
from fw.commands.doctor.finding import Finding, Subject, failed, ok, place, skipped, told, warning
from fw.commands.strangers import read_start
from fw.commands.tail.lines import read
from fw.inbox.websocket import Close

SMTP_SECONDS: Final = 4.0
REFUSALS: Final = (Close.UNAUTHORIZED, Close.FORBIDDEN_MESSAGE)
TOLD_BY_PROXIES: Final = (hdrs.VIA, "X-Cache", "X-Served-By", "CF-Ray", "X-Amz-Cf-Id", "X-Varnish", "Fly-Request-Id")
"""Headers that proxies put on answers, and this program never does."""
UPGRADES: Final = (
    "have the proxy pass on upgrades (nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; "
    "proxy_set_header Connection upgrade)"
)
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
NO_URL: Final = "FW_PUBLIC_URL is not set"


@asynccontextmanager
async def answer(subject: Subject) -> AsyncIterator[aiohttp.ClientResponse]:
    """Ask for the public /health."""
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{subject.config.public_url}/health", allow_redirects=False) as response,
    ):
        yield response


async def check_public_url(subject: Subject) -> Finding:
    """See that this release is what answers at FW_PUBLIC_URL."""
    config = subject.config
    if not config.public_url:
        return skipped(NO_URL)
    try:
        async with answer(subject) as response:
            said = read(await read_start(response))
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return failed(
            told(error, config), "see that the name leads to the proxy, its certificate is good, and the proxy to the server"
        )
    if hdrs.LOCATION in response.headers:
        return failed(f"/health redirects to {response.headers[hdrs.LOCATION]}", "set FW_PUBLIC_URL to where that leads")
    if said.get("status") != "ok":
        return failed(f"/health answers {response.status}, and not as FeedbackWave does", "see where the proxy sends requests")
    if said.get("version") != __version__:
        return warning(
            f"release {said.get('version')} answers, and this is {__version__}", "deploy the same release everywhere"
        )
    return ok(f"{config.public_url} answers as release {__version__}")


async def check_proxies(subject: Subject) -> Finding:
    """Compare FW_TRUSTED_PROXIES with the signs of proxies: nobody outside sees their number or what they forward."""
    trusted = subject.config.trusted_proxies
    async with answer(subject) as response:
        seen = signs(response)
    through = len([part for line in response.headers.getall(hdrs.VIA, []) for part in line.split(",")])
    if seen and not trusted:
        return warning(
            f"FW_TRUSTED_PROXIES is 0, and there is a proxy ({', '.join(seen)}): all its clients count as one address",
            "set FW_TRUSTED_PROXIES to the number of proxies that add to X-Forwarded-For (Heroku: 1)",
        )
    if trusted and not seen:
        return warning(
            f"FW_TRUSTED_PROXIES is {trusted}, and no sign of a proxy was seen: without one anybody can make up an address",
            "set FW_TRUSTED_PROXIES to 0 unless a proxy that tells nothing of itself is there",
        )
    if through > trusted:
        return warning(
            f"FW_TRUSTED_PROXIES is {trusted}, and Via names {through} proxies",
            "set FW_TRUSTED_PROXIES to the number of those that add to X-Forwarded-For",
        )
    if not seen:
        return ok("FW_TRUSTED_PROXIES is 0, and no sign of a proxy was seen")
    return ok(f"FW_TRUSTED_PROXIES is {trusted}; seen: {', '.join(seen)} (how many there are cannot be told from outside)")


def signs(response: aiohttp.ClientResponse) -> list[str]:
    """Return what shows that a proxy has answered, and not this program."""
    # The program itself has no TLS, and says that it is FeedbackWave.
    found = ["https"] if response.url.scheme == "https" else []
    server = response.headers.get(hdrs.SERVER, "")
    if server != "FeedbackWave":
        found.append(f"Server: {server}")
    return found + [f"{name}: {response.headers[name]}" for name in TOLD_BY_PROXIES if name in response.headers]


async def check_websocket(subject: Subject) -> Finding:
    """Open a socket and send a false token: only FeedbackWave itself refuses it with its own codes."""
    config = subject.config
    url = f"{config.public_url}/api/feedback/live"
    try:
        async with aiohttp.ClientSession() as http, http.ws_connect(url) as ws:
            await ws.send_json({"type": "auth", "token": "fw doctor"})
            await ws.receive()
    except aiohttp.WSServerHandshakeError as error:
        return failed(f"the upgrade was refused with status {error.status}", UPGRADES)
    except (aiohttp.ClientError, OSError) as error:
        return failed(told(error, config), UPGRADES)
    if ws.close_code in REFUSALS:
        return ok(f"the upgrade passes (a false token was refused with {ws.close_code})")
    return failed(f"the socket was closed with {ws.close_code}, and not by FeedbackWave", UPGRADES)


async def check_mail(subject: Subject) -> Finding:
    """Connect and log in to the mail server, and send nothing."""
    config = subject.config
    if not config.smtp_url:
        return skipped("FW_SMTP_URL is not set")
    try:
        return await in_thread(lambda: greet(config.smtp_url))
    except smtplib.SMTPAuthenticationError as error:
        return failed(
            f"{place(config.smtp_url)} refuses the login ({error.smtp_code})", "see to the user and password in FW_SMTP_URL"
        )
    except (smtplib.SMTPException, OSError) as error:
        return failed(
            f"{place(config.smtp_url)}: {told(error, config)}",
            "see to the host and port in FW_SMTP_URL; smtps:// is TLS from the first byte (465), smtp:// is not (587)",
        )


def greet(url: str) -> Finding:
    """Greet a mail server and log in as the URL says. Raises `SMTPException`, `OSError`."""
    parts = urlsplit(url)
    done = ["TLS"] if parts.scheme == "smtps" else []
    with connect(parts.scheme, parts.hostname or "", parts.port) as smtp:
        smtp.ehlo()
        if not done and smtp.has_extn("starttls"):
            smtp.starttls(context=ssl.create_default_context())
            smtp.ehlo()
            done = ["STARTTLS"]
        if parts.username and not done and parts.hostname not in LOOPBACK:
            return failed(
                f"{place(url)} offers no TLS: the password would go in clear", "use smtps://, or a server with STARTTLS"
            )
        if parts.username:
            smtp.login(unquote(parts.username), unquote(parts.password or ""))
            done.append("login")
    return ok(f"{place(url)} answers{' (' + ', '.join(done) + ')' if done else ''}")


def connect(scheme: str, host: str, port: int | None) -> smtplib.SMTP:
    if scheme == "smtps":
        return smtplib.SMTP_SSL(host, port or 465, timeout=SMTP_SECONDS, context=ssl.create_default_context())
    return smtplib.SMTP(host, port or 587, timeout=SMTP_SECONDS)


async def in_thread(work: Callable[[], Finding]) -> Finding:
    """Do some work that cannot be cancelled in a thread, which is left alone if the caller is cancelled."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Finding] = loop.create_future()

    def tell(finish: Callable[[Any], None], value: object) -> None:
        if not future.done():
            finish(value)

    def run() -> None:
        # The loop may be gone by then.
        with suppress(RuntimeError):
            try:
                loop.call_soon_threadsafe(tell, future.set_result, work())
            except (smtplib.SMTPException, OSError) as error:
                loop.call_soon_threadsafe(tell, future.set_exception, error)

    threading.Thread(target=run, daemon=True).start()
    return await future


async def check_redis(subject: Subject) -> Finding:
    config = subject.config
    if not config.redis_url:
        return skipped("REDIS_URL is not set")
    # It comes with the extra `redis`.
    from redis.asyncio import Redis
    from redis.exceptions import RedisError

    client: Any = Redis.from_url(config.redis_url, protocol=2)
    try:
        await client.ping()
    except (RedisError, OSError) as error:
        return failed(f"{place(config.redis_url)}: {told(error, config)}", "see that REDIS_URL is right, and that Redis runs")
    finally:
        with suppress(RedisError, OSError):
            await client.aclose()
    return ok(f"{place(config.redis_url)} answers")
