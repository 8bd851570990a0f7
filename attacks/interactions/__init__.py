"""Attacks that tell which items a client has interacted with, from what it uploaded."""
