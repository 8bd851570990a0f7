"""Which Flower this package was written against, and how it is set up before anything of it is imported.

Beside the Message API the package uses parts of Flower that are not promised to stay: the clients of its Fleet, Runtime
and Control APIs, and the SuperLink's application. So the version is checked at every start.
"""

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from securerec.errors import ConfigError

SERIES = "1.42"


def prepare(home: Path) -> None:
    """Keep Flower's files in `home` and its telemetry and update check off; to be called before flwr is imported.

    Raises ConfigError unless the installed flwr is of the series that this package knows.
    """
    try:
        found = version("flwr")
    except PackageNotFoundError:
        raise ConfigError('flwr is not installed: pip install "securerec[flower]"') from None
    if found.split(".")[:2] != SERIES.split("."):
        raise ConfigError(
            f'flwr {found} is installed, and this program knows {SERIES}: pip install "securerec[flower]"'
        )
    os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
    os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"
    os.environ["FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"] = "1"
    os.environ["FLWR_HOME"] = str(home)
