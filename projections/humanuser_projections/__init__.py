"""What follows from the events of human users: read models and reactions."""

from humanuser_projections.checked_sms import CheckedSms, checked_report
from humanuser_projections.explanation import Explanation, Step, explain
from humanuser_projections.message_texts import MessageTexts, preferred_language
from humanuser_projections.past_commands import CommandKind, PastCommand, past_commands
from humanuser_projections.phone_notifications import (
    PhoneNotification,
    PhoneNotifier,
    code_expires_at,
    phone_notification,
    record_sent,
    replaces_codes,
)
from humanuser_projections.refusal_timeline import RefusalTimeline
from humanuser_projections.user_as_of import UserAsOf, history_until, user_as_of
from humanuser_projections.user_details import user_details, user_details_after
from humanuser_projections.user_phone import UserPhone, user_phone, user_phone_after
from humanuser_projections.what_if import JudgedCommand, what_if
from humanuser_projections.what_if_tally import WhatIfTally

__all__ = [
    "CheckedSms",
    "CommandKind",
    "Explanation",
    "JudgedCommand",
    "MessageTexts",
    "PastCommand",
    "PhoneNotification",
    "PhoneNotifier",
    "RefusalTimeline",
    "Step",
    "UserAsOf",
    "UserPhone",
    "WhatIfTally",
    "checked_report",
    "code_expires_at",
    "explain",
    "history_until",
    "past_commands",
    "phone_notification",
    "preferred_language",
    "record_sent",
    "replaces_codes",
    "user_as_of",
    "user_details",
    "user_details_after",
    "user_phone",
    "user_phone_after",
    "what_if",
]
