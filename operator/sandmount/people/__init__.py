"""``kubectl sandbox``: what people ask about Sandboxes."""
