"""Schemas of answers that several features share. The server does not validate its answers; the tests validate all of them."""

from collections.abc import Sequence
from typing import Any

from marshmallow import Schema, fields, validate

from fw.web.schemas import Output


class Count(fields.Integer):
    """A number of things."""

    def __init__(self) -> None:
        super().__init__(required=True, validate=validate.Range(0))


class Share(fields.Float):
    """A ratio or an average; null if it would divide by zero."""

    def __init__(self) -> None:
        super().__init__(required=True, allow_none=True)


class OneOf(fields.Field[Any]):
    """One of several objects, which differ in the constant of one field."""

    def __init__(self, key: str, choices: Sequence[type[Schema]], **options: Any) -> None:
        super().__init__(**options)
        self.key, self.choices = key, choices


class ProblemObject(Output):
    """What went wrong (RFC 9457)."""

    component = "Problem"
    type = fields.String(required=True, metadata={"format": "uri-reference"})
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    request_id = fields.String(required=True)
    errors = fields.Dict(metadata={"description": "With 422: fields, nested as the body is, and what is wrong with each."})
