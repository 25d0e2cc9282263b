"""On a real kubelet: what a user applies, and what the host's own files say about it."""
