"""The base classes of schemas, and rules over several fields."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, missing, validates_schema

NAMED: Final = 20
"""How many errors of one kind are named; of the others only the number is given. A body has room for thousands."""


class Input(Schema):
    """Values that a client sent. If nothing is wrong, loading takes a quarter of the time of marshmallow's own loop."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._fields = tuple((name, field.data_key or name, field) for name, field in self.load_fields.items())
        self._keys = frozenset(key for _, key, _ in self._fields)
        self._has_hooks = any(self._hooks.values())

    def load(self, data: Any, **options: Any) -> dict[str, Any]:
        """Load as `Schema.load` does. Raises `ValidationError`."""
        if options or self._has_hooks or (self.unknown == RAISE and not data.keys() <= self._keys):
            return self._load_in_full(data, **options)
        loaded = {}
        try:
            for name, key, field in self._fields:
                value = field.deserialize(data.get(key, missing), key, data)
                if value is not missing:
                    loaded[name] = value
        except ValidationError:
            return dict(super().load(data))
        return loaded

    def _load_in_full(self, data: Any, **options: Any) -> dict[str, Any]:
        """Load by marshmallow's own loop, without most unknown fields: its time grows with the square of their number."""
        is_strict = self.unknown == RAISE and isinstance(data, Mapping)
        unnamed = frozenset([key for key in data if key not in self._keys][NAMED:] if is_strict else ())
        if not unnamed:
            return dict(super().load(data, **options))
        try:
            return dict(super().load({key: value for key, value in data.items() if key not in unnamed}, **options))
        except ValidationError as error:
            raise ValidationError({**error.messages_dict, "_schema": [f"Unknown fields: {len(unnamed):,} more."]}) from None


class Body(Input):
    """A request body: unknown fields are refused."""

    component: ClassVar[str]
    """Its name in the API's description, which clients rely on: it never changes."""

    class Meta:
        unknown = RAISE


class Query(Input):
    """A query string: unknown parameters are ignored."""

    class Meta:
        unknown = EXCLUDE


class Headers(Input):
    """Headers of a request: others are ignored."""

    class Meta:
        unknown = EXCLUDE


def exactly_one(*names: str, example: Mapping[str, Any], blame: str = "_schema") -> Callable[..., None]:
    """Return a rule for a schema: exactly one of these fields is given. `blame` is the field that the error names."""

    @validates_schema
    def check(self: Schema, data: Mapping[str, Any], **_: Any) -> None:
        if len(data.keys() & set(names)) != 1:
            raise ValidationError(f"Give exactly one of {listed(names)}.", blame)

    return shaped(check, oneOf=[{"required": [name]} for name in names], examples=[example])


def at_least_one(*names: str) -> Callable[..., None]:
    """Return a rule for a schema: at least one of these fields is given."""

    @validates_schema
    def check(self: Schema, data: Mapping[str, Any], **_: Any) -> None:
        if not data.keys() & set(names):
            raise ValidationError(f"Give at least one of {listed(names)}.")

    return shaped(check, anyOf=[{"required": [name]} for name in names])


def shaped(rule: Callable[..., None], **shape: Any) -> Callable[..., None]:
    """Attach the JSON Schema of a rule to it, for the API's description."""
    rule.shape = shape  # type: ignore[attr-defined]
    return rule


def listed(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


class Output(Schema):
    """An object in an answer: all fields are there that are not marked as optional. Later releases may add fields."""

    component: ClassVar[str]
    """Its name in the API's description, which clients rely on: it never changes."""
