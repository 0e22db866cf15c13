"""What the parts of the API's description share: security schemes, headers, an example of each problem."""

from collections.abc import Mapping
from typing import Any, Final

from apispec import APISpec

from fw.docs.examples import example
from fw.errors import CATALOGUE

SECURITY: Final[Mapping[str, Mapping[str, Any]]] = {
    "metrics": {
        "type": "http",
        "scheme": "bearer",
        "description": "The server's `FW_METRICS_TOKEN`, where it has one.",
    },
    "billing": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of the billing system, from `fw token --scope billing`. It sets premium and does nothing else.",
    },
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The `access_token` of a registration or a login.",
    },
    "password": {
        "type": "oauth2",
        "flows": {"password": {"tokenUrl": "/api/auth/login", "scopes": {}}},
        "description": "The same token, got with a username (or e-mail address) and a password.",
    },
}
"""The usual ones last: that is where Swagger UI puts the reader."""
HEADERS: Final[Mapping[str, str]] = {
    "X-Request-ID": "The caller's own, if it sent a sane one, else a new one; it names the request in the server's log.",
    "ETag": "Names this state of the answer, for `If-None-Match`.",
    "Location": "The path of what was made.",
    "Allow": "The methods that the path takes.",
    "Accept-Encoding": "Said if the body came packed: `identity`, because no `Content-Encoding` is taken.",
    "Retry-After": "Seconds after which to try again.",
    "RateLimit": 'How the caller stands, as in `"submission";r=29;t=41`: 29 left, all back in 41 seconds.',
    "RateLimit-Policy": 'What is allowed, as in `"submission";q=60;w=60`: 60 in 60 seconds.',
    "WWW-Authenticate": "What to send: a bearer token.",
    "Upgrade": "What to upgrade to: `websocket`.",
}
OPTIONAL: Final = ("RateLimit", "RateLimit-Policy", "Accept-Encoding")
"""What is said where there is something to say: of limits always with 429, and once half of what is allowed is gone."""


def register(spec: APISpec) -> None:
    """Give a description these parts, for others to refer to."""
    for name, scheme in SECURITY.items():
        spec.components.security_scheme(name, dict(scheme))
    for name, text in HEADERS.items():
        kind = "integer" if name == "Retry-After" else "string"
        spec.components.header(name, {"description": text, "required": name not in OPTIONAL, "schema": {"type": kind}})
    for problem in CATALOGUE:
        spec.components.example(problem.slug, {"summary": problem.title, "value": example(problem)})
