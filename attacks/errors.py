"""Errors a user can act on. Each message is one line that names what was wrong and the way out."""


class AttackError(Exception):
    """An attack cannot run on what it was given."""

    exit_code = 7


class ViewError(AttackError):
    """A view or truth is malformed, too large or contradicts itself."""
