"""What each operation of the API takes, gives and refuses: said once, beside its handler.

Requests are read by it, and the API's description is made of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol, cast

from marshmallow import Schema

from fw.errors import Problem
from fw.web.route import Handler

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"


class Answer(NamedTuple):
    """An answer that is no problem. `fields` names what its head says beside what every head says."""

    status: int
    schema: Schema | None = None
    fields: tuple[str, ...] = ()
    media: str = JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What one handler takes, gives and refuses.

    `name` is what clients call it by: it stays, wherever the code goes. Its first word is the group that the operation is in.
    """

    name: str
    gives: tuple[Answer, ...]
    body: Mapping[str, Schema] = field(default_factory=dict)
    """By media type."""
    is_body_optional: bool = False
    query: Schema = field(default_factory=Schema)
    headers: Schema = field(default_factory=Schema)
    refuses: tuple[type[Problem], ...] = ()
    """Beside what follows from where it stands in the URL table, and from what it takes."""
    leads_to: tuple[str, ...] = ()
    """The operations, by their ids, that take the `id` of what is answered in their path."""
    optional_token: str | None = None
    """The security scheme of a token that may be sent."""
    is_alone: bool = False
    """It needs neither the database nor any other server."""

    @property
    def tag(self) -> str:
        return self.name.partition("_")[0]


class Described(Protocol):
    operation: Operation


def operation(
    name: str, *gives: Answer, body: Schema | Mapping[str, Schema] | None = None, **rest: Any
) -> Callable[[Handler], Handler]:
    """Say what a handler takes, gives and refuses, as the fields of `Operation`; a schema alone is that of a JSON body."""
    by_media = {JSON: body} if isinstance(body, Schema) else body or {}
    described = Operation(name=name, gives=gives, body=by_media, **rest)

    def describe(handler: Handler) -> Handler:
        cast(Described, handler).operation = described
        return handler

    return describe


def operation_of(handler: object) -> Operation:
    """Return what was said of a handler."""
    return cast(Described, handler).operation
