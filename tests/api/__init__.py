"""The resource as the API server sees it: what it takes, what it refuses and how it shows it. No node is needed."""
