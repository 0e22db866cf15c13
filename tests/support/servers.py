"""Small real servers that tests put in the way or at the other end: a proxy, a mail server, one that says nothing."""

import asyncio
import base64
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Rewrite = Callable[[bytes], bytes]


def as_it_is(head: bytes) -> bytes:
    return head


@asynccontextmanager
async def listening(handle: Handle, context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """Serve each connection, and give the port; what is still open at the end is closed."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await handle(reader, writer)
        finally:
            tasks.discard(task)
            await close(writer)

    server = await asyncio.start_server(serve, host, 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError, asyncio.CancelledError):
        await writer.wait_closed()


@asynccontextmanager
async def silence() -> AsyncIterator[int]:
    """Take connections, and never say anything."""

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1024):
            pass

    async with listening(wait) as port:
        yield port


@asynccontextmanager
async def proxy(
    upstream: int, *, request: Rewrite = as_it_is, response: Rewrite = as_it_is, context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Pass connections on to a port of this machine, with the first heads of either side rewritten."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rewrite: Rewrite) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            writer.write(rewrite(await reader.readuntil(b"\r\n\r\n")))
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", upstream)
        try:
            await asyncio.gather(pump(reader, far_writer, request), pump(far_reader, writer, response))
        finally:
            await close(far_writer)

    async with listening(pass_on, context) as port:
        yield port


@asynccontextmanager
async def deaf_pooler(socket: Path) -> AsyncIterator[int]:
    """Pass connections on to PostgreSQL, and drop its notifications, as a pooler does whose client holds no connection."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            writer.write(chunk)

    async def pump_messages(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            # A letter and a length, which counts itself (PostgreSQL's protocol 3.0).
            head = await reader.readexactly(5)
            message = head + await reader.readexactly(int.from_bytes(head[1:]) - 4)
            if head[:1] != b"A":
                writer.write(message)

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(socket)
        try:
            await asyncio.gather(pump(reader, far_writer), pump_messages(far_reader, writer))
        finally:
            await close(far_writer)

    async with listening(pass_on) as port:
        yield port


@asynccontextmanager
async def mail_server(
    *, user: str = "", password: str = "", starttls: ssl.SSLContext | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Speak as much SMTP as comes before a mail: EHLO, STARTTLS, AUTH PLAIN, QUIT."""
    expected = base64.b64encode(f"\0{user}\0{password}".encode()).decode()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_clear = starttls is not None
        writer.write(b"220 mail.test ESMTP\r\n")
        while line := (await reader.readline()).decode().strip():
            match line.upper().split()[0]:
                case "EHLO":
                    offers = (["STARTTLS"] if is_clear else []) + (["AUTH PLAIN"] if user else [])
                    lines = ["mail.test", *offers]
                    marks = ["-"] * (len(lines) - 1) + [" "]
                    answer = "\r\n".join(f"250{mark}{text}" for mark, text in zip(marks, lines, strict=True))
                case "STARTTLS":
                    assert starttls
                    writer.write(b"220 go ahead\r\n")
                    await writer.start_tls(starttls)
                    is_clear = False
                    continue
                case "AUTH":
                    answer = "235 welcome" if line.split()[2] == expected else "535 no"
                case _:
                    answer = "221 bye"
            writer.write(f"{answer}\r\n".encode())

    async with listening(talk, tls, host="0.0.0.0") as port:
        yield port


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Make a certificate of localhost that signs itself; return its file and a context to serve with."""
    made, key = folder / "localhost.pem", folder / "localhost.key"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run([*command.split(), "-keyout", key, "-out", made], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    return made, context


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])
