"""The scorers: what a device computes from its score function and the item table."""
