"""The whole URL table: one line a route, with who may call it and from which pages."""

from collections.abc import Sequence
from typing import Final

from fw.accounts import (
    forgot,
    login,
    notifications,
    password,
    premium,
    profile,
    registration,
    sessions,
    verification,
)
from fw.config import Config
from fw.docs import pages
from fw.inbox import bulk, changes, channel, items, listing, submissions
from fw.pages import files, front, inbox, links, public, unsubscribe
from fw.telemetry import health
from fw.web.route import Route, anyone, anyone_anywhere, by_itself, operator, owner, owner_or_billing, page
from fw.webhooks import deliveries, endpoints
from fw.widgets import demo, script, statistics
from fw.widgets import owner as own_widgets
from fw.widgets import public as public_widgets

# The API, all of which is described.
# {ref} is a username in the route that sends feedback, and an id in those that read it.
ROUTES: Final = (
    operator("GET", "/health", health.alive),
    operator("GET", "/health/ready", health.ready),
    operator("GET", "/metrics", health.metrics),
    # The description
    anyone("GET", "/api/openapi.json", pages.description),
    anyone("GET", "/api/docs", pages.api),
    anyone("GET", "/api/docs/{file}", pages.asset),
    anyone("GET", "/problems", pages.problems),
    anyone("GET", "/problems/{slug}", pages.problem),
    # Accounts
    anyone("POST", "/api/auth/register", registration.register),
    anyone("POST", "/api/auth/login", login.login),
    owner("POST", "/api/auth/logout", sessions.logout),
    owner("GET", "/api/auth/me", profile.me),
    owner("DELETE", "/api/auth/sessions", sessions.end_others),
    owner("POST", "/api/auth/password", password.change_password),
    anyone("POST", "/api/auth/forgot", forgot.forgot),
    anyone("POST", "/api/auth/reset", password.reset_password),
    anyone("POST", "/api/auth/verify", verification.verify),
    owner("POST", "/api/auth/verify/resend", verification.resend),
    owner("PUT", "/api/users/profile", profile.update_profile),
    owner("DELETE", "/api/users/profile", profile.delete),
    owner("GET", "/api/users/notifications", notifications.show),
    owner("PUT", "/api/users/notifications", notifications.change),
    owner_or_billing("PATCH", "/api/users/premium", premium.set_premium),
    anyone("GET", "/api/users/{username}", profile.public),
    # The inbox. The router tries paths in turn, so the one that is called most comes first.
    anyone_anywhere("POST", "/api/feedback/{ref}", submissions.submit),
    owner("GET", "/api/feedback/{ref}", items.show),
    owner("DELETE", "/api/feedback/{ref}", items.delete),
    owner("GET", "/api/feedback", listing.list_inbox),
    owner("GET", "/api/feedback/changes", changes.changes),
    by_itself("GET", "/api/feedback/live", channel.follow),
    owner("POST", "/api/feedback/read", bulk.mark_many),
    owner("POST", "/api/feedback/bulk", bulk.change_many),
    owner("PATCH", "/api/feedback/{id}/read", items.mark),
    # Widgets
    owner("GET", "/api/widgets", own_widgets.list_own),
    owner("POST", "/api/widgets", own_widgets.create),
    owner("GET", "/api/widgets/{id}", own_widgets.show),
    owner("PUT", "/api/widgets/{id}", own_widgets.update),
    owner("DELETE", "/api/widgets/{id}", own_widgets.delete),
    owner("GET", "/api/widgets/{id}/stats", statistics.stats),
    anyone_anywhere("GET", "/api/widgets/{id}/config", public_widgets.config),
    anyone_anywhere("POST", "/api/widgets/{id}/feedback", public_widgets.submit),
    anyone_anywhere("POST", "/api/widgets/{id}/events", public_widgets.count_event),
    anyone_anywhere("GET", "/widget.js", script.script),
    # Webhooks
    owner("GET", "/api/webhooks", endpoints.list_own),
    owner("POST", "/api/webhooks", endpoints.create),
    owner("GET", "/api/webhooks/{id}", endpoints.show),
    owner("PUT", "/api/webhooks/{id}", endpoints.update),
    owner("DELETE", "/api/webhooks/{id}", endpoints.delete),
    owner("POST", "/api/webhooks/{id}/secret", endpoints.rotate_secret),
    owner("POST", "/api/webhooks/{id}/test", endpoints.ping),
    owner("GET", "/api/webhooks/{id}/deliveries", deliveries.list_deliveries),
    owner("POST", "/api/webhooks/{id}/resend", deliveries.resend_deliveries),
)

# Pages for people, which are no part of the API.
PAGES: Final = (
    page("GET", "/inbox", inbox.inbox),
    page("GET", "/inbox/{path:.*}", inbox.inbox),
    page("GET", "/u/{username}", public.show),
    page("POST", "/u/{username}", public.send),
    page("GET", "/u/{username}/thanks", public.thank),
    page("GET", "/forgot", links.forgot),
    page("POST", "/forgot", links.send_link),
    page("GET", "/reset", links.reset),
    page("GET", "/verify", links.verify),
    page("GET", "/demo/{packed}/page", demo.show),
    page("GET", "/demo/{packed}/widget.js", demo.script),
    page("GET", "/demo/{packed}/api/widgets/{id}/config", demo.config),
    page("POST", "/demo/{packed}/api/widgets/{id}/feedback", demo.submit),
    page("POST", "/demo/{packed}/api/widgets/{id}/events", demo.count_event),
    page("GET", "/static/{version}/{path:.+}", files.file),
)
# Mail programs ask this themselves, so it is there without the pages too.
UNSUBSCRIBE: Final = (
    page("GET", "/unsubscribe", unsubscribe.show),
    page("POST", "/unsubscribe", unsubscribe.turn_off),
)
FRONT_PAGE: Final = page("GET", "/", front.front)


def routes_of(config: Config) -> Sequence[Route]:
    """Return the routes of a server with these settings."""
    front_page = (FRONT_PAGE,) if config.front_page else ()
    return (*ROUTES, *UNSUBSCRIBE, *front_page, *PAGES) if config.pages else (*ROUTES, *UNSUBSCRIBE)
