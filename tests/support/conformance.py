"""Every answer of the application in the tests is held to its description."""

import json
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

import jsonschema_rs
from aiohttp import hdrs, web

from fw.docs.openapi import describe
from fw.routes import ROUTES
from fw.web.schemas import Output


def answers(schema: type[Output] = Output) -> set[str]:
    """Name the schemas of answers."""
    return {name for kind in schema.__subclasses__() for name in (kind.component, *answers(kind))}


@cache
def document() -> dict[str, Any]:
    """Describe the API, with every object of an answer closed: a field that is not described is found out."""
    described = describe(ROUTES)
    for name, schema in described["components"]["schemas"].items():
        if name in answers() - {"Problem"}:
            schema["additionalProperties"] = False
    return described


@cache
def validator(reference: str) -> Any:
    """Make the validator of a schema by its reference in the description."""
    return jsonschema_rs.Draft202012Validator(
        {"$ref": reference, "components": document()["components"]}, validate_formats=True
    )


def resolve(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow a reference within the description."""
    if "$ref" not in part:
        return part
    found: Any = document()
    for step in part["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return resolve(found)


class Conformance:
    """Notes every answer that is not as described."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    async def __call__(self, request: web.Request, response: web.StreamResponse) -> None:
        """Look at an answer when its head is ready (a signal of the application)."""
        resource = request.match_info.route.resource
        method = hdrs.METH_GET if request.method == hdrs.METH_HEAD else request.method
        operation = document()["paths"].get(resource.canonical if resource else "", {}).get(method.lower())
        if operation is None:
            return
        about = f"{request.method} {resource.canonical if resource else ''}: {response.status}"
        if str(response.status) not in operation["responses"]:
            self.faults.append(f"{about} is not described")
            return
        described = resolve(operation["responses"][str(response.status)])
        for name, header in described.get("headers", {}).items():
            if resolve(header).get("required") and name not in response.headers:
                self.faults.append(f"{about} lacks the header {name}")
        self.faults.extend(f"{about}: {fault}" for fault in faults_of_body(described.get("content", {}), response))


def faults_of_body(content: Mapping[str, Any], response: web.StreamResponse) -> list[str]:
    """Tell what is wrong with a body, by the kinds of content that are described."""
    body = response.body if isinstance(response, web.Response) else None
    if not content:
        return [] if not body else [f"has a body that is not described: {body!r}"]
    if response.status == HTTPStatus.SWITCHING_PROTOCOLS or not isinstance(body, bytes):
        return []
    if response.content_type not in content:
        return [f"is of the type {response.content_type}, which is not described"]
    schema = content[response.content_type]["schema"]
    if "$ref" not in schema:
        return []
    errors = validator(schema["$ref"]).iter_errors(json.loads(body))
    return [f"{error.message} at {error.instance_path} of {body!r}" for error in errors]
