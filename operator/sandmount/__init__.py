"""Sandmount: Sandboxes with allowlisted host directories, as a Kubernetes operator."""

__version__ = "0.1.0"
