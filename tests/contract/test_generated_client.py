"""A client that is generated from the description, used."""

import asyncio
import json
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiohttp.test_utils import TestClient

from fw.docs.openapi import describe
from fw.routes import ROUTES


@pytest.fixture
async def generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Generate a client, and return the name of its package."""
    name = f"client_{uuid4().hex[:8]}"
    description, config = tmp_path / "openapi.json", tmp_path / "config.json"
    description.write_text(json.dumps(describe(ROUTES)))
    config.write_text(json.dumps({"post_hooks": []}))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none", "--path", str(description)),
        *("--config", str(config), "--output-path", str(tmp_path / name)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    # What it leaves out: the spelling of a widget's event that browsers send when they close a page.
    assert output.count("WARNING") <= 1, output
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.mark.slow
async def test_registers_submits_and_lists(client: TestClient, generated: str) -> None:
    def part(path: str) -> Any:
        return import_module(f"{generated}.{path}")

    models, url, name = part("models"), str(client.make_url("")).rstrip("/"), f"u{uuid4().hex[:12]}"
    async with part("client").Client(base_url=url) as anyone:
        asked = models.UserRegister(email=f"{name}@example.com", username=name, password="a long one of yours")
        session = await part("api.auth.auth_register").asyncio(client=anyone, body=asked)
        sent = models.FeedbackSubmit(message="Well done!", metadata=models.FeedbackSubmitMetadataType0.from_dict({"rating": 5}))
        submit = part("api.feedback.feedback_submit").asyncio
        first = await submit(name, client=anyone, body=sent, idempotency_key="7f3a")
        again = await submit(name, client=anyone, body=sent, idempotency_key="7f3a")
        refused = await submit(name, client=anyone, body=models.FeedbackSubmit(message=" "))
        lost = await part("api.users.users_public").asyncio("nobody-of-that-name", client=anyone)
    assert session.user.username == name
    assert isinstance(first, models.Receipt)
    assert abs((first.created_at - datetime.now(UTC)).total_seconds()) < 60
    assert again.id == first.id
    assert isinstance(refused, models.Problem)
    assert refused.errors.to_dict() == {"message": ["Must not be empty."]}
    assert (lost.status, lost.type_) == (404, "/problems/not-found")

    async with part("client").AuthenticatedClient(base_url=url, token=session.access_token) as owner:
        inbox = await part("api.feedback.feedback_list_inbox").asyncio(client=owner, limit=10, is_read=False)
        changes = await part("api.feedback.feedback_changes").asyncio(client=owner, since=0)
        widget = await part("api.widgets.widgets_create").asyncio(
            client=owner, body=models.WidgetCreate(name="Footer", type_=models.WidgetCreateType.NPS)
        )
        stats = await part("api.widgets.widgets_stats").asyncio(widget.id, client=owner)
        ended = await part("api.auth.auth_logout").asyncio_detailed(client=owner)
        over = await part("api.auth.auth_me").asyncio(client=owner)
    (item,) = inbox.items
    assert (item.id, item.message, item.metadata.to_dict()) == (first.id, "Well done!", {"rating": 5})
    assert (inbox.unread_count, inbox.next_, inbox.cursor) == (1, None, 1)
    (event,) = changes.events
    assert isinstance(event, models.CreatedEvent)
    assert event.feedback.id == first.id
    assert (stats.totals.views, stats.totals.nps) == (0, None)
    assert ended.status_code == 204
    assert over.type_ == "/problems/unauthorized"
