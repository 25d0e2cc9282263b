"""Thousands of Sandboxes on simulated nodes: what the operator costs there, and how fast it is."""
