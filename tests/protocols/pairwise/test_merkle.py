import pytest

from protocols.pairwise import merkle


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 100])
def test_every_leaf_proves_its_place_and_no_other(n: int) -> None:
    leaves = [bytes([i]) * 32 for i in range(n)]
    levels = merkle.tree(leaves)
    root = levels[-1][0]
    for i in range(n):
        path = merkle.proof(levels, i)
        assert len(path) == 32 * merkle.depth_of(n)
        assert merkle.root_of(leaves[i], i, path) == root
        assert merkle.root_of(b"another" * 4, i, path) != root
        if n > 1:
            assert merkle.root_of(leaves[i], (i + 1) % n, path) != root


def test_another_list_has_another_root() -> None:
    roots = [merkle.tree(leaves)[-1][0] for leaves in ([b"a"], [b"b"], [b"a", b"b"], [b"b", b"a"], [b"a", b"b", b"a"])]
    assert len(set(roots)) == len(roots)
