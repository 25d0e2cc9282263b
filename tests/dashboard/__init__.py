"""What the dashboard shows, from a run of a few minutes: `make dashboard-picture`."""
