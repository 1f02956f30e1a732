"""Model repositories: configurations and manifests."""
