"""What lies in the folder of a device or a silo, and how it is opened.

store/  store.key  policy.toml  ledger.jsonl  identities/<client>.key  noise.key  training.key
"""

from collections.abc import Callable
from pathlib import Path

from securerec.device.store import KeyFile, Passphrase, Store, opened_with

STORE, STORE_KEY, POLICY, LEDGER = "store", "store.key", "policy.toml", "ledger.jsonl"


def open_store(folder: Path, ask: Callable[[], str]) -> Store:
    """The store in a folder. ask: for the passphrase, where one opens it; else the folder's key file does.

    Raises StoreError.
    """
    path = folder / STORE
    if opened_with(path) == Passphrase.kind:
        return Store.open(path, Passphrase(ask()))
    return Store.open(path, KeyFile(folder / STORE_KEY))
