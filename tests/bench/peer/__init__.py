"""A peer to measure beside: agent-sandbox, built from its released sources, as it is shipped."""
