"""Errors a user can act on. Each message is one line that names what was wrong and the way out."""


class SecurerecError(Exception):
    """Base of every error that the command line prints without a traceback."""

    exit_code = 1


class DataError(SecurerecError):
    """A data set is missing, damaged or malformed."""

    exit_code = 3


class ConfigError(SecurerecError):
    """A configuration key or value cannot be used."""

    exit_code = 4


class RunError(SecurerecError):
    """A run's folder is missing, damaged, in use, or belongs to something else."""

    exit_code = 5


class PrivacyError(SecurerecError):
    """A privacy promise cannot be kept or accounted for."""

    exit_code = 6
