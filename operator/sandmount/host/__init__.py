"""What a node has at the roots of an allowlist, and whether that keeps the promise. For Linux, run on the node."""
