"""Our own rows."""

from django.conf import settings
from django.db import models


class Customer(models.Model):
    """A user of ours as our support looks for them: by a number, which no two of them share."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, primary_key=True)
    phone = models.CharField(max_length=50, unique=True)
