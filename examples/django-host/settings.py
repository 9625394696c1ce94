"""Django's settings of our site, with those of humanuser among them."""

import os
import secrets
from pathlib import Path

DATA = Path(os.environ.get("SITE_DATA", "."))
"""The folder of everything that the site keeps."""

SECRET_KEY = os.environ.get("SITE_SECRET_KEY") or secrets.token_urlsafe(50)
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
ROOT_URLCONF = "urls"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "accounts",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.middleware.RefusalsAreTold",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA / "site.sqlite",
        "OPTIONS": {"transaction_mode": "IMMEDIATE"},  # whoever reads first and then writes may be overtaken otherwise
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

HUMANUSER_KEYS = DATA / "humanuser.keys"
HUMANUSER_SENDER = ("humanuser_adapters.sms.FileSms", DATA / "sms.jsonl")
"""The class that sends, and what it is made with; in production the one of your provider."""
