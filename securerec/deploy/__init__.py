"""A federation of separate processes: its folder, its keys and certificates, starting and following it."""
