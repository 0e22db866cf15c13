"""What others wrote is written to a terminal as one line of plain text."""

import io
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fw.cli import main
from fw.commands.doctor.finding import failed
from fw.commands.doctor.report import lines
from fw.commands.dump.progress import Progress
from fw.telemetry.logs import TextFormatter
from fw.terminal import complain, printable

HOSTILE = "a\x1b[2J\x9b2Jb\r\nc\u202ed\x07\udcff"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_text_stays_what_it_is() -> None:
    for text in ("Well done!", "", "Könnte schneller sein.", "検索が遅いです。"):
        assert printable(text) == text


@given(st.text())
def test_any_text_becomes_one_line_that_commands_nothing(text: str) -> None:
    assert printable(text).isprintable()


def test_a_complaint_is_one_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    complain(HOSTILE)
    assert capsys.readouterr().err == f"fw: {printable(HOSTILE)}\n"


def test_the_reason_for_an_end_is_one_plain_line(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("FW_JWT_SECRET", "s" * 32)
    assert main(["restore", HOSTILE]) == 1
    written = capsys.readouterr().err
    assert written.splitlines()[-1] == "fw: a [2J 2Jb c d  : cannot be read: No such file or directory"
    assert all(line.isprintable() for line in written.splitlines())


def test_progress_moves_the_cursor_by_itself_alone() -> None:
    terminal = Terminal()
    Progress(terminal).step(HOSTILE)
    assert terminal.getvalue() == f"\r\x1b[K{printable(HOSTILE)}"


def test_findings_are_plain_lines() -> None:
    assert all(line.isprintable() for line in lines("proxies", failed(HOSTILE, HOSTILE)))


def test_a_log_for_people_has_plain_lines() -> None:
    record = logging.makeLogRecord({"msg": HOSTILE, "levelname": "WARNING", "name": "fw", "extra": HOSTILE})
    assert TextFormatter().format(record).isprintable()
