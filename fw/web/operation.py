"""What each operation of the API takes, answers and refuses: declared once, beside its handler.

Requests are validated by it, and the API's description is made from it.
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
    """An answer that is no problem. `fields` are the headers that it has beside those of every answer."""

    status: int
    schema: Schema | None = None
    fields: tuple[str, ...] = ()
    media: str = JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What one handler takes, answers and refuses.

    Clients know an operation by its `name`, so that never changes. Its first word is the operation's group.
    """

    name: str
    gives: tuple[Answer, ...]
    body: Mapping[str, Schema] = field(default_factory=dict)
    """The schemas of the body, by media type."""
    is_body_optional: bool = False
    query: Schema = field(default_factory=Schema)
    headers: Schema = field(default_factory=Schema)
    refuses: tuple[type[Problem], ...] = ()
    """The problems that do not follow from its place in the URL table or from what it takes."""
    leads_to: tuple[str, ...] = ()
    """The names of the operations whose path takes the `id` in the answer."""
    optional_tokens: tuple[str, ...] = ()
    """The security schemes of tokens that may be sent but need not."""
    is_alone: bool = False
    """Whether it needs neither the database nor any other server."""

    @property
    def tag(self) -> str:
        return self.name.partition("_")[0]


class Described(Protocol):
    operation: Operation


def operation(
    name: str, *gives: Answer, body: Schema | Mapping[str, Schema] | None = None, **rest: Any
) -> Callable[[Handler], Handler]:
    """Declare what a handler takes, answers and refuses, by the fields of `Operation`; a schema alone is a JSON body's."""
    by_media = {JSON: body} if isinstance(body, Schema) else body or {}
    described = Operation(name=name, gives=gives, body=by_media, **rest)

    def describe(handler: Handler) -> Handler:
        cast(Described, handler).operation = described
        return handler

    return describe


def operation_of(handler: object) -> Operation:
    """Return the operation declared for a handler."""
    return cast(Described, handler).operation
