"""What answers of several features are made of. They validate nothing in service; the tests hold every answer to them."""

from collections.abc import Sequence
from typing import Any

from marshmallow import Schema, fields, validate

from fw.web.schemas import Output


class Count(fields.Integer):
    """A number of things."""

    def __init__(self) -> None:
        super().__init__(required=True, validate=validate.Range(0))


class Share(fields.Float):
    """A part of a whole, or an average; null where there is nothing to divide by."""

    def __init__(self) -> None:
        super().__init__(required=True, allow_none=True)


class OneOf(fields.Field[Any]):
    """One of several objects, told apart by the constant of one of their fields."""

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
