"""Turns marshmallow's schemas and our own fields into JSON Schema."""

from collections.abc import Iterable
from typing import Any

from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from marshmallow import Schema, fields, validate

from fw.web.answers import OneOf
from fw.web.fields import Rule
from fw.web.schemas import Output


class Converter(OpenAPIConverter):
    def init_attribute_functions(self) -> None:
        super().init_attribute_functions()
        # apispec's last function adds null to what the others return, so it stays last.
        self.attribute_functions[-1:-1] = [self.rule2properties, self.one_of2properties]

    def rule2properties(self, field: fields.Field[Any], **_: Any) -> dict[str, Any]:
        return field.describe() if isinstance(field, Rule) else {}

    def one_of2properties(self, field: fields.Field[Any], **_: Any) -> dict[str, Any]:
        return self.one_of(field.key, field.choices) if isinstance(field, OneOf) else {}

    def one_of(self, key: str, choices: Iterable[type[Schema]]) -> dict[str, Any]:
        """Describe one of several objects, which differ in the constant of a field."""
        references = {constant_of(choice, key): self.resolve_nested_schema(choice) for choice in choices}
        mapping = {constant: reference["$ref"] for constant, reference in references.items()}
        return {"oneOf": list(references.values()), "discriminator": {"propertyName": key, "mapping": mapping}}

    def schema2jsonschema(self, schema: Schema) -> dict[str, Any]:
        described: dict[str, Any] = super().schema2jsonschema(schema)
        if isinstance(schema, Output):
            # Later releases may add fields to answers.
            described.pop("additionalProperties", None)
        for rule in vars(type(schema)).values():
            described.update(getattr(rule, "shape", {}))
        return described


def constant_of(schema: type[Schema], key: str) -> str:
    """Return the constant that a field has to equal."""
    return next(str(rule.comparable) for rule in schema().fields[key].validators if isinstance(rule, validate.Equal))


class Plugin(MarshmallowPlugin):
    Converter = Converter


def name_of(schema: Any) -> str:
    """Return the name of a schema in the API's description."""
    return str(schema.component)
