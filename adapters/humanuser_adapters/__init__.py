"""Everything that touches the world: stores, SMS, the API, the command line."""
