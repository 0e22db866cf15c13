"""What all schemas of requests share: how they load, and rules over several fields."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, missing, validates_schema

NAMED: Final = 20
"""How many things that are wrong alike are named; of the others their number is told. A body has room for thousands."""


class Input(Schema):
    """What somebody sent. Where nothing is wrong, it takes a quarter of the time of marshmallow's own loop."""

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
        """Load by marshmallow's own loop, which takes the longer for each unknown field the more there are: not for all."""
        is_strict = self.unknown == RAISE and isinstance(data, Mapping)
        unnamed = frozenset([key for key in data if key not in self._keys][NAMED:] if is_strict else ())
        if not unnamed:
            return dict(super().load(data, **options))
        try:
            return dict(super().load({key: value for key, value in data.items() if key not in unnamed}, **options))
        except ValidationError as error:
            raise ValidationError({**error.messages_dict, "_schema": [f"Unknown fields: {len(unnamed):,} more."]}) from None


class Body(Input):
    """A request body: what is not known is refused."""

    component: ClassVar[str]
    """What clients call it by: it stays, wherever the code goes."""

    class Meta:
        unknown = RAISE


class Query(Input):
    """A query string: what is not known is ignored."""

    class Meta:
        unknown = EXCLUDE


class Headers(Input):
    """Fields of a request's head: others are ignored."""

    class Meta:
        unknown = EXCLUDE


def exactly_one(*names: str, example: Mapping[str, Any], blame: str = "_schema") -> Callable[..., None]:
    """Make a rule of a schema: of these fields one is given, and no other. `blame` is the field that the error names."""

    @validates_schema
    def check(self: Schema, data: Mapping[str, Any], **_: Any) -> None:
        if len(data.keys() & set(names)) != 1:
            raise ValidationError(f"Give exactly one of {listed(names)}.", blame)

    return shaped(check, oneOf=[{"required": [name]} for name in names], examples=[example])


def at_least_one(*names: str) -> Callable[..., None]:
    """Make a rule of a schema: one of these fields is given, or more."""

    @validates_schema
    def check(self: Schema, data: Mapping[str, Any], **_: Any) -> None:
        if not data.keys() & set(names):
            raise ValidationError(f"Give at least one of {listed(names)}.")

    return shaped(check, anyOf=[{"required": [name]} for name in names])


def shaped(rule: Callable[..., None], **shape: Any) -> Callable[..., None]:
    """Note what a rule of a schema is in JSON Schema, for the description of the API."""
    rule.shape = shape  # type: ignore[attr-defined]
    return rule


def listed(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


class Output(Schema):
    """An object of an answer: all of its fields are there, unless it says otherwise. Others may be added one day."""

    component: ClassVar[str]
    """What clients call it by: it stays, wherever the code goes."""
