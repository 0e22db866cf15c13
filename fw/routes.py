"""The whole URL table: one line a route, with who may call it and from which pages."""

from typing import Final

from fw.accounts import login, password, premium, profile, registration, sessions
from fw.docs import pages
from fw.inbox import bulk, changes, channel, items, listing, submissions
from fw.telemetry import health
from fw.web.route import anyone, anyone_anywhere, by_itself, operator, owner, owner_or_billing
from fw.widgets import owner as own_widgets
from fw.widgets import public as public_widgets
from fw.widgets import script as widget_script
from fw.widgets import statistics

# {ref} is a username in the route that sends feedback, and an id in those that read it.
ROUTES: Final = (
    operator("GET", "/health", health.alive),
    operator("GET", "/health/ready", health.ready),
    operator("GET", "/metrics", health.metrics),
    # The description
    anyone("GET", "/api/openapi.json", pages.description),
    anyone("GET", "/api/docs", pages.page),
    anyone("GET", "/api/docs/{file}", pages.asset),
    anyone("GET", "/problems", pages.problems),
    anyone("GET", "/problems/{slug}", pages.problem),
    # Accounts
    anyone("POST", "/api/auth/register", registration.register),
    anyone("POST", "/api/auth/login", login.login),
    owner("POST", "/api/auth/logout", sessions.logout),
    owner("GET", "/api/auth/me", profile.me),
    owner("POST", "/api/auth/password", password.change_password),
    anyone("POST", "/api/auth/reset", password.reset_password),
    owner("PUT", "/api/users/profile", profile.update_profile),
    owner("DELETE", "/api/users/profile", profile.delete),
    owner_or_billing("PATCH", "/api/users/premium", premium.set_premium),
    anyone("GET", "/api/users/{username}", profile.public),
    # The inbox
    owner("GET", "/api/feedback", listing.list_inbox),
    owner("GET", "/api/feedback/changes", changes.changes),
    by_itself("GET", "/api/feedback/live", channel.follow),
    owner("POST", "/api/feedback/read", bulk.mark_many),
    owner("PATCH", "/api/feedback/{id}/read", items.mark),
    anyone_anywhere("POST", "/api/feedback/{ref}", submissions.submit),
    owner("GET", "/api/feedback/{ref}", items.show),
    owner("DELETE", "/api/feedback/{ref}", items.delete),
    # Widgets
    anyone_anywhere("GET", "/widget.js", widget_script.script),
    owner("GET", "/api/widgets", own_widgets.list_own),
    owner("POST", "/api/widgets", own_widgets.create),
    owner("GET", "/api/widgets/{id}", own_widgets.show),
    owner("PUT", "/api/widgets/{id}", own_widgets.update),
    owner("DELETE", "/api/widgets/{id}", own_widgets.delete),
    owner("GET", "/api/widgets/{id}/stats", statistics.stats),
    anyone_anywhere("GET", "/api/widgets/{id}/config", public_widgets.config),
    anyone_anywhere("POST", "/api/widgets/{id}/feedback", public_widgets.submit),
    anyone_anywhere("POST", "/api/widgets/{id}/events", public_widgets.count_event),
)
