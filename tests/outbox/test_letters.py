"""How letters are put into MIME: nothing that people write steers a mail program."""

from email import message_from_bytes
from email.headerregistry import Address
from email.policy import default

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fw.outbox.letters import SUBJECT, Letter, NoAddress, address_of, compose, in_a_line

HEADERS = ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"]
SENDER = Address("FeedbackWave", "no-reply", "example.com")
PIECES = (*"=? ?= = ? utf-8 utf-7 q b =0D=0A =80 +AA0ACg- DQpCY2M6 Bcc:v@x.example é _".split(), " ", "\n")


def raw(subject: str) -> bytes:
    letter = Letter(name="verify", to="ann@example.com", subject=subject, link="http://x.example/", values={"username": "ann"})
    return compose(letter, SENDER, "1").as_bytes()


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
@example("=?utf-8?q?=0D=0AX-Evil:_1=0D=0ABcc:victim@example.org?=")
@example("=?utf-8?q?=0AContent-Type:text/html=0A=0A<b>Sign_in</b><!--?=")
@example("=?utf-7?q?+AA0ACg-Bcc: v@x.example?=")
@example("=?utf-8?b?DQpCY2M6IHZAeC5leGFtcGxl?=")
@example("=?utf-8?q?=80?=é suppressed")
def test_a_subject_adds_no_header_and_no_line(subject: str) -> None:
    mail = message_from_bytes(raw(subject), policy=default)
    assert sorted(mail.keys()) == sorted(HEADERS)
    parts = [part.get_content_type() for part in mail.walk()]
    assert parts == ["multipart/alternative", "text/plain", "text/html"]


@given(st.text(st.characters(codec="utf-8"), max_size=150))
@example("a =? b =?utf-8?q?c?= é")
def test_a_subject_says_what_was_written(subject: str) -> None:
    written = in_a_line(f"New feedback: {subject}", SUBJECT)
    mail = message_from_bytes(raw(written), policy=default)
    # Where a line is folded is the library's choice.
    assert "".join(mail["Subject"].split()) == "".join(written.split())


def test_what_programs_read_is_in_one_piece() -> None:
    link = f"https://{'long' * 15}.example/unsubscribe?token={'x' * 90}"
    letter = Letter(name="verify", to="ann@example.com", subject="x", link=link, unsubscribe=link, values={"username": "ann"})
    sender = Address("", "no-reply", f"{'long.' * 15}example.com")
    lines = compose(letter, sender, "1" * 36).as_bytes().split(b"\r\n")
    assert f"List-Unsubscribe: <{link}>".encode() in lines
    assert f"Message-ID: <{'1' * 36}@{sender.domain}>".encode() in lines


@pytest.mark.parametrize("text", ["=?utf-8?q?=0ABcc:v?=@example.com", "a=?utf-8?b?Cg==?=@example.com"])
def test_an_address_has_no_encoded_word(text: str) -> None:
    with pytest.raises(NoAddress):
        address_of(text)
