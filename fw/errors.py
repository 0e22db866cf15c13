"""The catalogue of problems (RFC 9457): a class each, with its slug, its status and the sentence that clients read."""

from collections.abc import Mapping
from typing import Any, ClassVar


class Problem(Exception):
    """An error that a client may see. The error middleware turns it into the answer.

    `sentence` is its usual detail, `advice` is what its page adds. `errors` maps fields to lists of messages, nested as the
    body is; `headers` are those of the answer.
    """

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal server error"
    sentence: ClassVar[str] = "Something went wrong here. Tell us the request id and we can find out what."
    advice: ClassVar[str] = (
        "This is a fault of the server, and it has been noted in its log under the request's id. Sending the same again may "
        "help; a submission with an Idempotency-Key can safely be sent again."
    )
    fields: ClassVar[tuple[str, ...]] = ()
    """The names of the headers that its answer has."""
    constraints: ClassVar[tuple[str, ...]] = ()
    """The constraints of the database that are broken if this is the problem."""

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
    advice = (
        "A line or a field of the request's head, or the body's length, is not what HTTP allows. Libraries do not send "
        "such requests: look for whatever writes or changes them by hand, a proxy included."
    )


class MalformedJson(Problem):
    status, slug, title = 400, "malformed-json", "Malformed JSON"
    sentence = "The body must be one JSON object in UTF-8, without NaN or Infinity, and not nested too deep."
    advice = (
        "Look for a trailing comma, single quotes, another encoding, or an array or a text where an object belongs. An "
        "empty body is not an object either."
    )


class Unauthorized(Problem):
    status, slug, title = 401, "unauthorized", "Not authenticated"
    sentence = "A valid bearer token is needed: log in and send it as 'Authorization: Bearer <token>'."
    advice = (
        "The token is missing, mistyped, expired, or ended by a logout or a change of the password; or its account is "
        "gone. Log in again for a new one."
    )
    fields = ("WWW-Authenticate",)
    # What refers to an account that has just been deleted.
    constraints = (
        "widgets_user_id_fkey",
        "sessions_user_id_fkey",
        "password_resets_user_id_fkey",
        "email_verifications_user_id_fkey",
        "notifications_user_id_fkey",
        "webhooks_user_id_fkey",
    )

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail, headers={"WWW-Authenticate": 'Bearer realm="feedbackwave"'})


class WrongCredentials(Unauthorized):
    slug, title = "wrong-credentials", "Wrong credentials"
    sentence = "No account has this name and password."
    advice = "The name or the password is wrong; which of them is not told. After a few attempts further ones have to wait."


class Forbidden(Problem):
    status, slug, title = 403, "forbidden", "Not allowed"
    sentence = "This account may not do that."
    advice = (
        "The token is valid, but it does not allow this call: a billing token sets premium and does nothing else, and "
        "premium is set by billing. Or the session is a cookie's, and no page of the server itself made the call: a program "
        "sends a bearer token."
    )


class PremiumRequired(Problem):
    status, slug, title = 403, "premium-required", "Premium required"
    sentence = "The free plan does not reach this far."
    advice = "Free accounts hold 3 widgets and see 30 days of statistics; premium ones 100 and 365."


class OriginNotAllowed(Problem):
    status, slug, title = 403, "origin-not-allowed", "Origin not allowed"
    sentence = "This widget does not take feedback from that site."
    advice = (
        "The browser said from which site it asks, and that site is not in the widget's allowed_origins, or may not "
        "open a live channel. The widget's owner can add it; for the channel, whoever runs the server "
        "(FW_CORS_ORIGINS)."
    )


class NotFound(Problem):
    status, slug, title = 404, "not-found", "Not found"
    sentence = "There is no such thing here."
    advice = (
        "The path is mistyped, or the thing was deleted, never was, or is somebody else's: the answer is the same for "
        "all of these."
    )


class MethodNotAllowed(Problem):
    status, slug, title = 405, "method-not-allowed", "Method not allowed"
    sentence = "This path does not take that method; the header Allow lists those that it takes."
    advice = "The path is right and the method is not, as in GET for what is sent by POST."
    fields = ("Allow",)


class RequestTimeout(Problem):
    status, slug, title = 408, "request-timeout", "Request timeout"
    sentence = "The body did not come in time."
    advice = "The whole request has to arrive within 20 seconds. Send it again over a better connection, or make it smaller."


class EmailTaken(Problem):
    constraints = ("users_email_key",)
    status, slug, title = 409, "email-taken", "E-mail address taken"
    sentence = "Another account has this e-mail address."
    advice = "Addresses are compared without regard to case. If the other account is yours, log in, or have its password reset."


class UsernameTaken(Problem):
    constraints = ("users_username_key",)
    status, slug, title = 409, "username-taken", "Username taken"
    sentence = "Another account has this username."
    advice = "Names are compared without regard to case. Choose another one."


class IdempotencyMismatch(Problem):
    status, slug, title = 409, "idempotency-mismatch", "Idempotency key used before"
    sentence = "This Idempotency-Key came with another body before."
    advice = (
        "A key names one submission for 24 hours: use a new one for each, and the same one only to repeat what had no answer."
    )


class TooLarge(Problem):
    status, slug, title = 413, "too-large", "Body too large"
    sentence = "The body may have 64 KiB at most."
    advice = "Messages have at most 5,000 characters and metadata 4 KiB, so a request that is this large holds something else."


class UnsupportedMediaType(Problem):
    status, slug, title = 415, "unsupported-media-type", "Unsupported media type"
    sentence = "Send the body as application/json in UTF-8."
    advice = (
        "Set the header Content-Type to application/json. Two calls take another type too: the login a form, and a "
        "widget's events text/plain. If the answer has the header Accept-Encoding, the body was packed (gzip, br): send it "
        "as it is, without Content-Encoding."
    )
    fields = ("Accept-Encoding",)


class ExpectationFailed(Problem):
    status, slug, title = 417, "expectation-failed", "Expectation failed"
    sentence = "The only expectation met here is 100-continue."
    advice = "Remove the header Expect, or send Expect: 100-continue."


class UpgradeRequired(Problem):
    status, slug, title = 426, "upgrade-required", "Upgrade required"
    sentence = "This is a WebSocket: ask for an upgrade to version 13 of its protocol."
    advice = (
        "Open this path with a WebSocket library, or with new WebSocket(...) in a browser. If you did, a proxy on the "
        "way has removed the request for the upgrade."
    )
    fields = ("Upgrade",)

    def __init__(self) -> None:
        super().__init__(headers={"Upgrade": "websocket", "Connection": "close, upgrade", "Sec-WebSocket-Version": "13"})


class Invalid(Problem):
    status, slug, title = 422, "invalid", "Not valid"
    sentence = "Some fields are not as they must be; 'errors' says which and why."
    advice = (
        "Each field that is wrong is listed with the reason, nested as the body is; _schema stands for the object as a "
        "whole. Unknown fields are refused, so that a mistyped one is not lost."
    )


class TooManyRequests(Problem):
    status, slug, title = 429, "too-many-requests", "Too many requests"
    sentence = "That was too often; the header Retry-After says in how many seconds to try again."
    advice = (
        "Wait for as long as Retry-After says. RateLimit-Policy tells what is allowed, and RateLimit how much of it is left."
    )
    fields = ("Retry-After", "RateLimit", "RateLimit-Policy")


class Unavailable(Problem):
    status, slug, title = 503, "unavailable", "Unavailable for the moment"
    sentence = "The service cannot do this right now; try again after the seconds in Retry-After."
    advice = (
        "The database cannot be reached, or the server has as much to do as it can take. Nothing was stored that was "
        "not acknowledged: send it again after the seconds in Retry-After, with the same Idempotency-Key if it had "
        "one."
    )
    fields = ("Retry-After",)

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

BY_CONSTRAINT: Mapping[str, type[Problem]] = {
    name: problem for problem in CATALOGUE for name in vars(problem).get("constraints", ())
}

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
"""The problems that stand for errors of aiohttp itself, by status."""
