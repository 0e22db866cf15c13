"""Reading e-mail addresses that anyone may type."""

import pytest
from email_validator import EmailNotValidError

from fw.web.email_address import read_address

CHINESE = "".join(chr(0x4E00 + 7 * n) for n in range(240))
ONE_TO_EIGHTEEN = "\ufdfa"
"""One character that is eighteen once it is normalized."""


@pytest.mark.parametrize(
    "domain",
    [
        CHINESE + ".example",
        CHINESE[:60] + ".example",
        ONE_TO_EIGHTEEN * 4 + ".example",
        ".".join(CHINESE[n : n + 1] for n in range(50)) + ".example",
        "\u3002".join(CHINESE[n : n + 30] for n in range(0, 240, 30)),
        "x" * 64 + ".example",
        "x." * 126 + "example",
        "x" * 310,
    ],
    ids=["one label", "a label by a few", "normalized", "many labels", "ideographic dots", "ascii", "long", "no dots"],
)
def test_what_cannot_be_short_enough_is_not_written_in_ascii(domain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fw.web.email_address.validate_email", None)
    with pytest.raises(EmailNotValidError, match="too long"):
        read_address("a@" + domain)


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("someone@Example.COM", "someone@example.com"),
        ("ü@bücher.example", "ü@bücher.example"),
        ("a@bücher\u3002example", "a@bücher.example"),
        (f"a@{'x' * 63}.{'y' * 63}.example", f"a@{'x' * 63}.{'y' * 63}.example"),
        (f"a@{CHINESE[:16]}.example", f"a@{CHINESE[:16]}.example"),
    ],
)
def test_reads_what_fits(typed: str, address: str) -> None:
    assert read_address(typed).normalized == address


@pytest.mark.parametrize("typed", ["", "x", "@", "a@", "@example.com", "a@b@example.com", "a@.example"])
def test_refuses_what_is_no_address(typed: str) -> None:
    with pytest.raises(EmailNotValidError):
        read_address(typed)
