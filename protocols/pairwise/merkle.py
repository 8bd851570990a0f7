"""A commitment to a list, of which each reader sees its own entry: a Merkle tree (as in RFC 6962, section 2.1).

The list is filled up with empty leaves to a power of two. Leaves and nodes are hashed under labels of their own.
"""

from collections.abc import Sequence

from protocols.transcript import DIGEST_BYTES, digest


def depth_of(n: int) -> int:
    """Hashes in a proof of a list of n entries, 1 or more."""
    return (n - 1).bit_length()


def tree(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """Levels of the tree over 1 or more leaves, their hashes first; the last level is the root alone."""
    empty = [_leaf(b"")] * ((1 << depth_of(len(leaves))) - len(leaves))
    levels = [[_leaf(leaf) for leaf in leaves] + empty]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([_node(below[i], below[i + 1]) for i in range(0, len(below), 2)])
    return levels


def proof(levels: list[list[bytes]], index: int) -> bytes:
    """The hashes beside the way from leaf `index` to the root."""
    return b"".join(level[index >> height ^ 1] for height, level in enumerate(levels[:-1]))


def root_of(leaf: bytes, index: int, path: bytes) -> bytes:
    """The root that a proof leads to; equal to the tree's only for the leaf that is in it at this index."""
    found = _leaf(leaf)
    for height in range(len(path) // DIGEST_BYTES):
        beside = path[DIGEST_BYTES * height : DIGEST_BYTES * (height + 1)]
        found = _node(beside, found) if index >> height & 1 else _node(found, beside)
    return found


def _leaf(content: bytes) -> bytes:
    return digest("merkle leaf", content)


def _node(left: bytes, right: bytes) -> bytes:
    return digest("merkle node", left, right)
