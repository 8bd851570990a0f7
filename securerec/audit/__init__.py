"""Attacks run against rounds: what is recorded of a run, and what the attacks make of it."""
