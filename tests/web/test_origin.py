"""Whose pages are the server's own."""

import pytest
from aiohttp.test_utils import make_mocked_request

from fw.app import create_app
from fw.config import Config
from fw.web.origin import is_own
from tests.conftest import SECRET

LONG = "ﷺ" * 2700
"""Takes a third of a second to encode as an international name."""


def asked(config: Config, origin: str, host: str | None = "feedback.example:8080") -> bool:
    headers = {} if host is None else {"Host": host}
    return is_own(make_mocked_request("GET", "/", headers=headers, app=create_app(config)), origin)


@pytest.fixture
def config() -> Config:
    return Config(database_url="postgresql://nobody@127.0.0.1:1/nowhere", jwt_secrets=(SECRET,))


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://feedback.example:8080", "feedback.example:8080"),
        ("https://feedback.example:8080", "feedback.example:8080"),
        ("http://feedback.example", "Feedback.Example"),
        ("http://feedback.example", "feedback.example:80"),
        ("https://feedback.example", "feedback.example:443"),
        ("http://[::1]:8080", "[::1]:8080"),
        ("https://xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_its_own_host_is_its_own(config: Config, origin: str, host: str) -> None:
    assert asked(config, origin, host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("", "feedback.example"),
        ("", ""),
        ("", None),
        ("null", "null"),
        ("http://", ""),
        ("http://", None),
        ("http://feedback.example", "feedback.example:443"),
        ("https://feedback.example", "feedback.example:80"),
        ("http://feedback.example:8081", "feedback.example:8080"),
        ("http://feedback.example.evil.example", "feedback.example"),
        ("http://evil.example", "feedback.example"),
        ("ftp://feedback.example", "feedback.example"),
        ("file://feedback.example", "feedback.example"),
        ("http://bücher.example", "bücher.example"),
        ("x" * 301, "x" * 301),
        ("http://" + "x" * 300, "x" * 300),
        (f"http://{LONG}", LONG),
        (f"http://{LONG[:280]}", LONG[:280]),
    ],
)
def test_nothing_else_is(config: Config, origin: str, host: str | None) -> None:
    assert not asked(config, origin, host)
