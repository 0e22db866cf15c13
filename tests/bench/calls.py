"""What is asked of every candidate alike."""

import json

from tests.bench.client import Request
from tests.bench.cluster import MESSAGE, METADATA, Account


def submission(to: Account) -> Request:
    return Request("POST", f"/api/feedback/{to.username}", {"message": MESSAGE, "metadata": json.loads(METADATA)})


def newest(of: Account) -> Request:
    return Request("GET", "/api/feedback?limit=20", token=of.token)
