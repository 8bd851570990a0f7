"""Rounds of the federation: what devices send, how it is summed, what the server does with the sum."""
