"""Clients of ZITADEL that exist, tried on our server: ``make test-clients``."""
