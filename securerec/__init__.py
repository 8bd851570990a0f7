"""securerec: a federated recommender that keeps interactions at home and measures what still leaks."""

from importlib.metadata import version

__version__ = version("securerec")
