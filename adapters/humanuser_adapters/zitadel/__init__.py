"""What a running ZITADEL holds: its events, its users, and the codes it sealed."""
