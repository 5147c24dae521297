"""The sandbox: one invented company behind every vendor's API, on a local server."""
