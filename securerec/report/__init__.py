"""What a finished run looks like: why a device scores as it does, and pictures of items, views and figures."""
