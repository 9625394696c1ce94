"""What follows from the events of human users: read models and reactions."""

from humanuser_projections.phone_notifications import PhoneNotification, PhoneNotifier, phone_notification
from humanuser_projections.user_details import user_details
from humanuser_projections.user_phone import UserPhone, user_phone

__all__ = [
    "PhoneNotification",
    "PhoneNotifier",
    "UserPhone",
    "phone_notification",
    "user_details",
    "user_phone",
]
