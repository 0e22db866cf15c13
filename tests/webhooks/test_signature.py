"""Signatures, beside those of the standard's own package."""

import base64
import time
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from fw.webhooks.signature import new_secret, signed_headers

BODY = '{"type":"ping","data":"Grüße"}'


def test_is_the_same_as_the_standards_own() -> None:
    secret, now = new_secret(), datetime.now(UTC)
    headers = signed_headers("msg", int(now.timestamp()), BODY.encode(), [secret])
    assert headers["webhook-signature"] == Webhook(secret).sign("msg", now, BODY)
    assert Webhook(secret).verify(BODY, headers)


def test_each_secret_signs() -> None:
    secrets = [new_secret(), new_secret()]
    headers = signed_headers("msg", int(time.time()), BODY.encode(), secrets)
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in secrets:
        assert Webhook(secret).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(BODY, headers)


def test_an_old_one_is_not_good_any_more() -> None:
    secret = new_secret()
    headers = signed_headers("msg", int(time.time()) - 600, BODY.encode(), [secret])
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY, headers)


def test_secrets_are_random_and_long_enough() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert {len(base64.b64decode(secret.removeprefix("whsec_"))) for secret in secrets} == {32}
