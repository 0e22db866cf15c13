"""The catalogue of problems (RFC 9457): a class each, with its slug, status and the sentence a client reads."""

from collections.abc import Mapping
from typing import Any, ClassVar


class Problem(Exception):
    """An error that a client may see. Raised where it is known, answered by the error middleware.

    `errors` maps fields to lists of messages, nested as the body is; `headers` go on the answer.
    """

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal server error"
    sentence: ClassVar[str] = "Something went wrong here. Tell us the request id and we can find out what."

    def __init__(
        self, detail: str = "", *, errors: Mapping[Any, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        self.detail = detail or self.sentence
        self.errors = errors
        self.headers = dict(headers or {})
        super().__init__(self.detail)


class BadRequest(Problem):
    status, slug, title = 400, "bad-request", "Bad request"
    sentence = "The request is not valid HTTP."


class MalformedJson(Problem):
    status, slug, title = 400, "malformed-json", "Malformed JSON"
    sentence = "The body must be one JSON object in UTF-8, without NaN or Infinity, and not nested too deep."


class Unauthorized(Problem):
    status, slug, title = 401, "unauthorized", "Not authenticated"
    sentence = "A valid bearer token is needed: log in and send it as 'Authorization: Bearer <token>'."

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail, headers={"WWW-Authenticate": 'Bearer realm="feedbackwave"'})


class WrongCredentials(Unauthorized):
    slug, title = "wrong-credentials", "Wrong credentials"
    sentence = "No account has this name and password."


class Forbidden(Problem):
    status, slug, title = 403, "forbidden", "Not allowed"
    sentence = "This account may not do that."


class PremiumRequired(Problem):
    status, slug, title = 403, "premium-required", "Premium required"
    sentence = "The free plan does not reach this far."


class OriginNotAllowed(Problem):
    status, slug, title = 403, "origin-not-allowed", "Origin not allowed"
    sentence = "This widget does not take feedback from that site."


class NotFound(Problem):
    status, slug, title = 404, "not-found", "Not found"
    sentence = "There is no such thing here."


class MethodNotAllowed(Problem):
    status, slug, title = 405, "method-not-allowed", "Method not allowed"
    sentence = "This path does not take that method; the header Allow lists those that it takes."


class RequestTimeout(Problem):
    status, slug, title = 408, "request-timeout", "Request timeout"
    sentence = "The body did not come in time."


class EmailTaken(Problem):
    status, slug, title = 409, "email-taken", "E-mail address taken"
    sentence = "Another account has this e-mail address."


class UsernameTaken(Problem):
    status, slug, title = 409, "username-taken", "Username taken"
    sentence = "Another account has this username."


class IdempotencyMismatch(Problem):
    status, slug, title = 409, "idempotency-mismatch", "Idempotency key used before"
    sentence = "This Idempotency-Key came with another body before."


class TooLarge(Problem):
    status, slug, title = 413, "too-large", "Body too large"
    sentence = "The body may have 64 KiB at most."


class UnsupportedMediaType(Problem):
    status, slug, title = 415, "unsupported-media-type", "Unsupported media type"
    sentence = "Send the body as application/json in UTF-8."


class ExpectationFailed(Problem):
    status, slug, title = 417, "expectation-failed", "Expectation failed"
    sentence = "The only expectation met here is 100-continue."


class UpgradeRequired(Problem):
    status, slug, title = 426, "upgrade-required", "Upgrade required"
    sentence = "This is a WebSocket: ask for an upgrade to version 13 of its protocol."

    def __init__(self) -> None:
        super().__init__(headers={"Upgrade": "websocket", "Connection": "upgrade", "Sec-WebSocket-Version": "13"})


class Invalid(Problem):
    status, slug, title = 422, "invalid", "Not valid"
    sentence = "Some fields are not as they must be; 'errors' says which and why."


class TooManyRequests(Problem):
    status, slug, title = 429, "too-many-requests", "Too many requests"
    sentence = "That was too often; the header Retry-After says in how many seconds to try again."


class Unavailable(Problem):
    status, slug, title = 503, "unavailable", "Unavailable for the moment"
    sentence = "The service cannot do this right now; try again after the seconds in Retry-After."

    def __init__(self, detail: str = "", *, retry_after: int = 1) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)})


CATALOGUE: tuple[type[Problem], ...] = (
    Problem,
    BadRequest,
    MalformedJson,
    Unauthorized,
    WrongCredentials,
    Forbidden,
    PremiumRequired,
    OriginNotAllowed,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    EmailTaken,
    UsernameTaken,
    IdempotencyMismatch,
    TooLarge,
    UnsupportedMediaType,
    ExpectationFailed,
    UpgradeRequired,
    Invalid,
    TooManyRequests,
    Unavailable,
)

BY_STATUS: Mapping[int, type[Problem]] = {
    problem.status: problem
    for problem in (
        BadRequest,
        Unauthorized,
        Forbidden,
        NotFound,
        MethodNotAllowed,
        TooLarge,
        UnsupportedMediaType,
        ExpectationFailed,
    )
}
"""What the framework itself may answer, in our words."""
