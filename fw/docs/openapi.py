"""The API's description (OpenAPI 3.1), made of the URL table, the operations and the schemas that validate."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from html import escape
from http import HTTPStatus
from inspect import getdoc
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from apispec import APISpec

from fw import __version__, errors
from fw.accounts.fields import USERNAME
from fw.docs import components
from fw.docs.examples import BY_SLUG, EXAMPLE_ID
from fw.docs.json_schema import Converter, Plugin, name_of
from fw.errors import Problem
from fw.inbox.channel import HELLO
from fw.inbox.events import LIVE_EVENTS
from fw.web.answers import ProblemObject
from fw.web.fields import Id
from fw.web.operation import JSON, Answer, Operation, operation_of
from fw.web.route import Access, Route

PROSE: Final = Path(__file__).parent / "api.md"
PROBLEM_JSON: Final = "application/problem+json"

OWNER: Final[Sequence[Mapping[str, Any]]] = ({"cookie": []}, {"bearer": []}, {"password": []})
SECURITY_OF: Final[Mapping[Access, Sequence[Mapping[str, Any]]]] = {
    Access.ANYONE: (),
    Access.OWNER: OWNER,
    Access.OWNER_OR_BILLING: (*OWNER, {"billing": []}),
}
FILES: Final[Mapping[str, str]] = {
    "docs.css": "docs/docs.css",
    "docs.js": "docs/docs.js",
    "icon.svg": "icon.svg",
    "swagger-ui-bundle.js": "vendor/swagger-ui/swagger-ui-bundle.js",
    "swagger-ui.css": "vendor/swagger-ui/swagger-ui.css",
    "tokens.css": "tokens.css",
}
"""The files of the pages here, by the names that they have there, with their paths below `static`."""
CHOICES: Final[Mapping[str, Iterable[str]]] = {"slug": BY_SLUG, "file": FILES}
"""The possible values of parameters that have only a few."""
ANYWHERE: Final = (errors.BadRequest, errors.ExpectationFailed, Problem)
"""The problems that any operation may answer."""
IN_BODIES: Final = (
    errors.MalformedJson,
    errors.RequestTimeout,
    errors.TooLarge,
    errors.UnsupportedMediaType,
    errors.Invalid,
)


class Description:
    """The API's description, made at the first request for it."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes

    @cached_property
    def json(self) -> bytes:
        return json.dumps(describe(self._routes), ensure_ascii=False, indent=1).encode()


DESCRIPTION: Final[web.AppKey[Description]] = web.AppKey("description")


def describe(routes: Sequence[Route]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of these routes."""
    prose = read_prose()
    plugin = Plugin(schema_name_resolver=name_of)
    spec = APISpec(
        title="FeedbackWave",
        version=__version__,
        openapi_version="3.1.0",
        plugins=[plugin],
        info={"description": prose.pop(""), "license": {"name": "MIT", "identifier": "MIT"}},
        servers=[{"url": "/", "description": "This server"}],
    )
    for tag, text in prose.items():
        spec.tag({"name": tag, "description": text})
    components.register(spec)
    by_id = {operation_of(route.handler).name: route for route in routes}
    for route in routes:
        described = describe_operation(spec, plugin, route)
        created = described["responses"].get(str(HTTPStatus.CREATED), {})
        links = {name: link(by_id[name]) for name in operation_of(route.handler).leads_to}
        created.update({"links": links} if links else {})
        spec.path(path=route.path, operations={route.method.lower(): described})
    return spec.to_dict()


def link(route: Route) -> dict[str, Any]:
    """Return a link from an answer to an operation on the thing that was made."""
    return {
        "operationId": operation_of(route.handler).name,
        "parameters": dict.fromkeys(parameters_in(route.path), "$response.body#/id"),
        "description": summary(route),
    }


def parameters_in(path: str) -> list[str]:
    return re.findall(r"\{(\w+)\}", path)


def summary(route: Route) -> str:
    return words(route)[0].replace("\n", " ").removesuffix(".")


def words(route: Route) -> tuple[str, str]:
    """Return the first paragraph of a handler's docstring, and the others."""
    first, _, rest = (getdoc(route.handler) or "").partition("\n\n")
    return first, rest


def read_prose() -> dict[str, str]:
    """Return the texts of `api.md`: the introduction under "", and a section for each tag."""
    introduction, *sections = re.split(r"^## (\w+)\n", PROSE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {"": introduction.strip(), **{tag: text.strip() for tag, text in zip(sections[::2], sections[1::2], strict=True)}}


def describe_operation(spec: APISpec, plugin: Plugin, route: Route) -> dict[str, Any]:
    said = operation_of(route.handler)
    described: dict[str, Any] = {
        "operationId": said.name,
        "tags": [said.tag],
        "summary": summary(route),
        "parameters": list(parameters(plugin, route, said)),
        "responses": responses(spec, route, said),
        "security": [*SECURITY_OF[route.access], *optional_security(said)],
    }
    if more := words(route)[1]:
        described["description"] = more
    if said.body:
        described["requestBody"] = {
            "required": not said.is_body_optional,
            "content": {media: {"schema": schema} for media, schema in said.body.items()},
        }
    if any(answer.status == HTTPStatus.SWITCHING_PROTOCOLS for answer in said.gives):
        described["x-messages"] = messages(plugin)
    return described


def optional_security(said: Operation) -> list[dict[str, Any]]:
    """Return the security of an operation that takes these tokens and also none."""
    return [{}, *({scheme: []} for scheme in said.optional_tokens)] if said.optional_tokens else []


def parameters(plugin: Plugin, route: Route, said: Operation) -> Iterator[dict[str, Any]]:
    converter = plugin.converter
    assert isinstance(converter, Converter)
    for name in parameters_in(route.path):
        yield {"in": "path", "name": name, "required": True, **path_parameter(name, route.access)}
    yield from converter.schema2parameters(said.query, location="query")
    yield from converter.schema2parameters(said.headers, location="header")
    if any(answer.status == HTTPStatus.NOT_MODIFIED for answer in said.gives):
        text = "The `ETag` of an answer that the client has: 304 if it is still the same."
        yield {"in": "header", "name": "If-None-Match", "description": text, "schema": {"type": "string"}}


def path_parameter(name: str, access: Access) -> dict[str, Any]:
    """Describe a parameter in a path. {ref} is a username in the route that anyone may call, and an id in the owner's."""
    if name == "username" or (name == "ref" and access is Access.ANYONE):
        shape = {"type": "string", "pattern": f"^{USERNAME.pattern}$", "examples": ["you"]}
        return {"description": "A username, in any case.", "schema": shape}
    if name in ("id", "ref"):
        return {"description": "An id.", "schema": {**Id().describe(), "examples": [EXAMPLE_ID]}}
    return {"description": "One of these.", "schema": {"type": "string", "enum": list(CHOICES[name])}}


def responses(spec: APISpec, route: Route, said: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {}
    for answer in said.gives:
        shown = described.setdefault(str(answer.status), describe_answer(answer))
        if content := content_of(answer):
            shown.setdefault("content", {}).update(content)
    by_status = defaultdict(list)
    for problem in sorted(refusals(route, said), key=errors.CATALOGUE.index):
        by_status[problem.status].append(problem)
    for status, problems in sorted(by_status.items()):
        name = "Or".join(problem.__name__ for problem in problems)
        if name not in spec.components.responses:
            spec.components.response(name, describe_problems(problems))
        described[str(status)] = name
    return described


def refusals(route: Route, said: Operation) -> set[type[Problem]]:
    """Return the problems of an operation: those that it names, and those that follow from its route and what it takes."""
    found: set[type[Problem]] = {*ANYWHERE, *said.refuses}
    if said.body:
        found |= {*IN_BODIES}
    if said.query.fields or said.headers.fields:
        found.add(errors.Invalid)
    if route.access is Access.OWNER:
        found |= {errors.Unauthorized, errors.Forbidden, errors.TooManyRequests}
    if route.access is Access.OWNER_OR_BILLING:
        found |= {errors.Unauthorized, errors.TooManyRequests}
    if not said.is_alone:
        found.add(errors.Unavailable)
    return found


def describe_answer(answer: Answer) -> dict[str, Any]:
    return {
        "description": HTTPStatus(answer.status).phrase,
        "headers": {name: name for name in ("X-Request-ID", *answer.fields)},
    }


def content_of(answer: Answer) -> dict[str, Any]:
    if answer.schema is not None:
        return {answer.media: {"schema": answer.schema}}
    if answer.status == HTTPStatus.OK:
        return {answer.media: {"schema": {"type": "object" if answer.media == JSON else "string"}}}
    return {}


def describe_problems(problems: Sequence[type[Problem]]) -> dict[str, Any]:
    """Describe the answer with a status that these problems share."""
    carried = {name: name for problem in problems for name in problem.fields}
    return {
        "description": "\n".join(
            f"- [{problem.title}](/problems/{problem.slug}): {escape(problem.sentence, quote=False)}" for problem in problems
        ),
        "headers": {"X-Request-ID": "X-Request-ID", **carried},
        "content": {
            PROBLEM_JSON: {"schema": ProblemObject(), "examples": {problem.slug: problem.slug for problem in problems}}
        },
    }


def messages(plugin: Plugin) -> dict[str, Any]:
    """Describe the messages of the live channel, each of them a JSON object in a text frame."""
    converter = plugin.converter
    assert isinstance(converter, Converter)
    return {
        "fromServer": converter.one_of("event", LIVE_EVENTS),
        "fromClient": converter.resolve_nested_schema(HELLO),
    }
