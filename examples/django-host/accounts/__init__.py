"""The accounts of our site: Django's users, and their phones, which humanuser decides about."""
