"""`sandmount check`: what the operator would say of manifests and of the allowlist, before anything is applied."""
