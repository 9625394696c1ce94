"""The API's description, and what ``make protos`` makes of it: wire-compatible with ZITADEL's, and written here."""
