"""Claims of reliability, put to the test: kills, power losses, failovers, outages and races."""
