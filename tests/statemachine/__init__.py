"""Long random histories of a few Sandboxes against a real control plane, and what must hold after and during them."""
