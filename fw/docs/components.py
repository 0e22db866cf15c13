"""The shared parts of the API's description: security schemes, headers, an example of each problem."""

from collections.abc import Mapping
from typing import Any, Final

from apispec import APISpec

from fw.docs.examples import example
from fw.errors import CATALOGUE

SECURITY: Final[Mapping[str, Mapping[str, Any]]] = {
    "metrics": {
        "type": "http",
        "scheme": "bearer",
        "description": "The server's `FW_METRICS_TOKEN`, if it has one.",
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
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": "fw",
        "description": (
            'The cookie of a registration or a login with `"session": "cookie"`, for pages of this server alone: what changes '
            "something, or opens the live channel, has to come with the server's own `Origin`. By https it is `__Host-fw`. "
            "A bearer token goes before it."
        ),
    },
    "password": {
        "type": "oauth2",
        "flows": {"password": {"tokenUrl": "/api/auth/login", "scopes": {}}},
        "description": "The same token, for a username (or e-mail address) and a password.",
    },
}
"""The usual ones stand last, because Swagger UI shows the end of the list first."""
HEADERS: Final[Mapping[str, str]] = {
    "X-Request-ID": "The client's own, if it sent a well-formed one, else a new one. It finds the request in the server's log.",
    "ETag": "Names this state of the answer, for `If-None-Match`.",
    "Location": "The path of what was made.",
    "Allow": "The methods that the path takes.",
    "Accept-Encoding": "Sent if the body came compressed: `identity`, because no `Content-Encoding` is taken.",
    "Retry-After": "Seconds after which to try again.",
    "RateLimit": 'How much is left, as in `"submission";r=29;t=41`: 29 now, and all again in 41 seconds.',
    "RateLimit-Policy": 'What is allowed, as in `"submission";q=60;w=60`: 60 in 60 seconds.',
    "WWW-Authenticate": "What to send: a bearer token.",
    "Upgrade": "What to upgrade to: `websocket`.",
}
OPTIONAL: Final = ("RateLimit", "RateLimit-Policy", "Accept-Encoding")
"""Headers that are not always sent; those of limits come with every 429, and once half of what is allowed is used up."""


def register(spec: APISpec) -> None:
    """Add these parts to a description, so that operations can refer to them."""
    for name, scheme in SECURITY.items():
        spec.components.security_scheme(name, dict(scheme))
    for name, text in HEADERS.items():
        kind = "integer" if name == "Retry-After" else "string"
        spec.components.header(name, {"description": text, "required": name not in OPTIONAL, "schema": {"type": kind}})
    for problem in CATALOGUE:
        spec.components.example(problem.slug, {"summary": problem.title, "value": example(problem)})
