"""What schemathesis cannot read in the description, because it is said there in words; and who it is."""

import json
import os
from datetime import UTC, datetime
from typing import Any
from urllib.request import Request, urlopen
from uuid import uuid4

import schemathesis
from hypothesis import strategies as st

URL = os.environ["FW_URL"]
PASSWORD = "nobody guesses this one"
DISPOSABLE = {
    "POST /api/auth/logout",
    "POST /api/auth/password",
    "PUT /api/users/profile",
    "DELETE /api/users/profile",
    "PATCH /api/users/premium",
}
"""What ends a session, or changes an account for those who come after, is tried with an account of its own."""

TRIMMED = {"message": 5000, "name": 100}
"""Characters of texts that are counted without the white space around them."""

schemathesis.openapi.format("email", st.from_regex(r"[a-z0-9]{1,12}@[a-z0-9]{1,12}\.com", fullmatch=True))
schemathesis.openapi.format("time-zone", st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns"]))


def call(method: str, path: str, token: str = "", **body: Any) -> Any:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    with urlopen(Request(f"{URL}{path}", json.dumps(body).encode(), headers, method=method)) as answer:
        return json.load(answer)


class Account:
    """A premium account: more than three widgets fit in."""

    def __init__(self) -> None:
        self.name = f"u{uuid4().hex[:12]}"
        made = call("POST", "/api/auth/register", email=f"{self.name}@example.com", username=self.name, password=PASSWORD)
        self.token = made["access_token"]
        call("PATCH", "/api/users/premium", self.token, is_premium=True)


SHARED = Account()

if os.environ["FW_LOGGED_IN"] == "1":

    @schemathesis.auth(refresh_interval=None)
    class Bearer:
        """Sends a token with each request that may have one."""

        def get(self, case: schemathesis.Case, context: schemathesis.AuthContext) -> str:
            return (Account() if case.operation.label in DISPOSABLE else SHARED).token

        def set(self, case: schemathesis.Case, data: str, context: schemathesis.AuthContext) -> None:
            case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    """Make of what is meant to be accepted what the words ask for too, and of what is not what they refuse."""
    if isinstance(case.body, dict):
        for name, most in TRIMMED.items():
            text = case.body.get(name)
            if isinstance(text, str) and len(text.strip()) <= most < len(text):
                # Meant to be too long, and is not without the white space around it.
                case.body[name] = "x" * len(text)
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if isinstance(case.body, dict):
        mean(case.operation.label, case.body)
    if case.operation.label == "POST /api/feedback/{ref}":
        case.path_parameters["ref"] = SHARED.name
    if case.operation.label == "GET /api/widgets/{id}/stats":
        # Within what the plan shows, from the first to the last.
        case.query.update(dict.fromkeys(case.query.keys() & {"from", "to"}, str(datetime.now(UTC).date())))
    if case.operation.label == "GET /api/feedback/changes":
        case.query["wait"] = 0.01


def mean(label: str, body: dict[str, Any]) -> None:
    for name in ("password", "new_password"):
        if isinstance(body.get(name), str) and len(set(body[name])) < 4:
            # Not one of the most common.
            body[name] = f"hm, what? {body[name]}"[: len(body[name])]
    if "current_password" in body or (label == "PUT /api/users/profile" and "email" in body):
        body["current_password"] = PASSWORD
    if body.get("metadata") and not is_small(body["metadata"]):
        body["metadata"] = {"page": "/pricing"}
    if label in ("POST /api/widgets", "PUT /api/widgets/{id}"):
        # One that is not active is not there for the public.
        body["is_active"] = True
    if label == "POST /api/widgets/{id}/feedback":
        # Within the bounds of each type of widget, whichever it is.
        body.update(rating=5, message=(body.get("message") or "").strip() or "Well done!")
        if "rating" in (body.get("metadata") or {}):
            body["metadata"]["rating"] = 5


def is_small(metadata: Any) -> bool:
    text = json.dumps(metadata, ensure_ascii=False)
    return "\\u0000" not in text and len(text.encode()) <= 4096 and levels(metadata) <= 5


def levels(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(levels, value.values() if isinstance(value, dict) else value), default=0)
