"""Names that clients are generated from: they stay, wherever the code goes. A new one is added here, and none is changed."""

from typing import Any

import pytest

from fw.docs.openapi import describe
from fw.routes import ROUTES

OPERATIONS = """
    auth_change_password auth_end_other_sessions auth_forgot auth_login auth_logout auth_me auth_register
    auth_resend_verification auth_reset_password auth_verify docs_asset docs_description docs_page docs_problem docs_problems
    feedback_change_many feedback_changes feedback_delete feedback_list_inbox feedback_mark feedback_mark_many feedback_show
    feedback_submit health_alive health_metrics health_ready live_follow users_delete users_notifications users_public
    users_set_notifications users_set_premium users_update_profile webhooks_create webhooks_delete webhooks_list_deliveries
    webhooks_list_own webhooks_ping webhooks_resend_deliveries webhooks_rotate_secret webhooks_show webhooks_update
    widgets_config widgets_count_event widgets_create widgets_delete widgets_list_own widgets_script widgets_show
    widgets_stats widgets_submit widgets_update
"""
SCHEMAS = """
    Changed Changes CreatedEvent DayStats DeletedEvent Deliveries Delivery Feedback FeedbackBulkChange FeedbackHello
    FeedbackMark FeedbackMarkMany FeedbackSubmit Health HelloEvent Inbox Me Notifications Problem PublicUser Queued Readiness
    Receipt ResyncEvent Session Stats StatsTotals UpdatedEvent User UserAccountDeletion UserForgotten UserLogin UserLoginForm
    UserNotificationsChange UserPasswordChange UserPasswordReset UserPremium UserProfile UserRegister UserVerification Webhook
    WebhookChange WebhookCreate WebhookCreated WebhookResend WebhookSecret Webhooks Widget WidgetChange WidgetConfig
    WidgetCreate WidgetEvent WidgetSettings WidgetSubmit Widgets
"""
SECURITY = "bearer billing cookie metrics password"


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return describe(ROUTES)


def operations(described: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in described["paths"].values() for operation in path.values()]


def test_operations_keep_their_names(described: dict[str, Any]) -> None:
    assert sorted(operation["operationId"] for operation in operations(described)) == sorted(OPERATIONS.split())


def test_an_operation_is_in_the_group_that_its_name_begins_with(described: dict[str, Any]) -> None:
    for operation in operations(described):
        assert operation["tags"] == [operation["operationId"].partition("_")[0]]
    assert [tag["name"] for tag in described["tags"]] == [
        "auth",
        "users",
        "feedback",
        "live",
        "widgets",
        "webhooks",
        "health",
        "docs",
    ]


def test_schemas_keep_their_names(described: dict[str, Any]) -> None:
    assert sorted(described["components"]["schemas"]) == sorted(SCHEMAS.split())


def test_ways_to_say_who_one_is_keep_their_names(described: dict[str, Any]) -> None:
    assert sorted(described["components"]["securitySchemes"]) == SECURITY.split()
