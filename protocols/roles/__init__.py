"""The three roles, whatever the protocol: what each checks before any cryptography and what it keeps between calls."""
