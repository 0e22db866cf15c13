"""Accounts: registering, logging in, changing."""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from email_validator import EmailNotValidError, validate_email
from marshmallow import ValidationError, fields, validate, validates_schema

from fw.accounts.passwords import common_passwords
from fw.web.fields import IPV6, PORT, SPACE, Flag, Matching, Rule, Text, says, storable
from fw.web.schemas import Body, at_least_one, exactly_one

USERNAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{2,29}")
RESERVED: Final = frozenset(
    # Literals that stand, or could stand, where a username stands in a path.
    "changes events feedback live login logout me password premium profile read register reset stats unread widgets "
    # Names that would be taken for the service itself.
    "about abuse account accounts admin administrator api auth billing blog contact dashboard docs email feedbackwave health "
    "help home inbox info legal mail metrics moderator null official openapi owner postmaster pricing privacy problems ready "
    "root security service settings signin signup sitemap static status support system team terms undefined user username "
    "users web webmaster widget www".split()
)


NOT_IN_URLS: Final = rf"{SPACE}\x00-\x1f\x7f\x22<>\\^`{{|}}"
HTTPS: Final = rf"[Hh][Tt][Tt][Pp][Ss]://([^{NOT_IN_URLS}/?#@:\[\]]+|\[({IPV6})\])(:({PORT}))?([/?#][^{NOT_IN_URLS}]*)?"
TYPED: Final = 4096
"""Characters of what is typed as a password that has been set: more than any has."""
EXAMPLE_PASSWORD: Final = "a long one of yours"


class Email(NamedTuple):
    """An address as it is written to, and folded as it is compared."""

    address: str
    key: str


class EmailField(Rule[Email]):
    """An e-mail address by its syntax; no DNS is asked."""

    def read(self, value: Any) -> Email:
        if not isinstance(value, str) or len(value) > 320:
            raise ValidationError("Must be an e-mail address.")
        try:
            address = validate_email(storable(value), check_deliverability=False).normalized
        except EmailNotValidError as error:
            raise ValidationError(str(error)) from None
        return Email(address, address.casefold())

    def describe(self) -> dict[str, Any]:
        return {"type": "string", "format": "email", "maxLength": 320, "examples": ["you@example.com"]}


class Username(Matching):
    """A username that may be taken, kept as typed."""

    def __init__(self, **options: Any) -> None:
        error = "Must be 3 to 30 letters (A-Z), digits, '_' or '-', and begin with a letter or digit."
        super().__init__(USERNAME.pattern, error, example="you", **options)

    def read(self, value: Any) -> str:
        if super().read(value).lower() in RESERVED:
            raise ValidationError("This name is reserved.")
        return str(value)


class NewPassword(Text):
    """A password that may be set: any characters, exactly as typed, but none of the most common."""

    def __init__(self, **options: Any) -> None:
        super().__init__(8, 256, example=EXAMPLE_PASSWORD, required=True, **options)

    def read(self, value: Any) -> str:
        password = super().read(value)
        if password.lower() in common_passwords():
            raise ValidationError("This is one of the most common passwords.")
        return password

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "format": "password"}


class ImageUrl(Matching):
    """An `https://` URL of at most 2,000 characters."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            HTTPS,
            "Must be an https:// URL of at most 2,000 characters.",
            high=2000,
            example="https://example.com/you.png",
            **options,
        )

    def read(self, value: Any) -> str:
        return storable(super().read(value))


class LoginName(NamedTuple):
    """A name that was typed, as accounts are looked up by it, and as attempts are counted: either field is None."""

    username: str | None
    email_key: str | None


def login_name(typed: Mapping[str, Any]) -> LoginName:
    """Make of the name in a login what is compared, in all its spellings; a `login` with an "@" is an e-mail address."""
    login = typed.get("login", "")
    if "email" in typed or "@" in login:
        return LoginName(None, email_key(typed.get("email", login)))
    # As the database does it: usernames are ASCII, and other letters are nobody's.
    return LoginName(typed.get("username", login).encode().lower().decode(), None)


def email_key(typed: str) -> str:
    """Make of an e-mail address what is compared: without regard to case, in any script and spelling of its domain."""
    try:
        return validate_email(typed, check_deliverability=False).normalized.casefold()
    except EmailNotValidError:
        return typed.casefold()


def refuse_own_name(password: str, *names: str, field: str = "password") -> None:
    """Refuse a password that is the account's own username or e-mail address (ASVS 5.0, 6.2.11)."""
    if password.casefold() in {name.casefold() for name in names}:
        raise ValidationError({field: ["Must not be your username or e-mail address."]})


class Register(Body):
    component = "UserRegister"
    email = EmailField(required=True)
    username = Username(required=True)
    password = NewPassword()
    profile_image = ImageUrl(allow_none=True, load_default=None)

    @validates_schema
    def _password_is_no_name(self, data: Mapping[str, Any], **_: Any) -> None:
        refuse_own_name(data["password"], data["username"], data["email"].address)


class Login(Body):
    """A password and one of the three names of its account."""

    component = "UserLogin"
    username = Text(1, 320, example="you")
    email = Text(1, 320, example="you@example.com")
    login = Text(1, 320, example="you")
    password = Text(0, TYPED, example=EXAMPLE_PASSWORD, required=True)
    _one_name = exactly_one("username", "email", "login", blame="login", example={"login": "you", "password": EXAMPLE_PASSWORD})


class LoginForm(Body):
    """The password form of OAuth 2 (RFC 6749, 4.3.2), whose `username` may be an e-mail address too."""

    component = "UserLoginForm"
    grant_type = fields.String(validate=validate.Equal("password"))
    scope = fields.String()
    client_id = fields.String()
    client_secret = fields.String()
    login = Text(1, 320, example="you", required=True, data_key="username")
    password = Text(0, TYPED, example=EXAMPLE_PASSWORD, required=True)


class Profile(Body):
    component = "UserProfile"
    email = EmailField()
    username = Username()
    profile_image = ImageUrl(allow_none=True)
    current_password = Text(0, TYPED, example=EXAMPLE_PASSWORD, **says("Needed where the e-mail address changes."))
    _something = at_least_one("email", "username", "profile_image")


class Premium(Body):
    component = "UserPremium"
    is_premium = Flag(required=True)
    username = Text(1, 320, example="you", **says("Whose, where billing asks; else the caller's own."))


class PasswordChange(Body):
    component = "UserPasswordChange"
    current_password = Text(0, TYPED, example=EXAMPLE_PASSWORD, required=True)
    new_password = NewPassword()


class PasswordReset(Body):
    component = "UserPasswordReset"
    token = Text(
        1,
        200,
        required=True,
        **says("From `fw user reset`; good for 30 minutes and once, until the password or the e-mail address changes."),
    )
    new_password = NewPassword()


class AccountDeletion(Body):
    component = "UserAccountDeletion"
    current_password = Text(0, TYPED, example=EXAMPLE_PASSWORD, required=True)


REGISTER: Final = Register()
LOGIN: Final = Login()
LOGIN_FORM: Final = LoginForm()
PROFILE: Final = Profile()
PREMIUM: Final = Premium()
PASSWORD_CHANGE: Final = PasswordChange()
PASSWORD_RESET: Final = PasswordReset()
ACCOUNT_DELETION: Final = AccountDeletion()
