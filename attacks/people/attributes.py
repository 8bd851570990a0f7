"""Features of uploads from which the goal learns what kind of person sent them."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import eigsh

from attacks.goals.attributes import ATTRIBUTES, Uploads
from attacks.people.inferred import cosines, probabilities
from attacks.registry import register

_COMPONENTS = 64


@register(
    ATTRIBUTES,
    name="inferred items",
    kinds=("unprotected_upload", "noised_upload"),
    adversary="a curious server that knows the attribute of some of its clients",
    source="attribute inference from histories, Weinsberg et al. 2012, on items inferred by the rank-1 sign attack",
    summary="the probability of each item, inferred from the upload, stands in for the client's history",
)
def inferred_items(seen: Uploads) -> NDArray[np.float32]:
    """(n_clients, n_items) probabilities."""
    return probabilities(seen.view)


@register(
    ATTRIBUTES,
    name="upload as it is",
    kinds=("unprotected_upload", "noised_upload"),
    adversary="a curious server that knows the attribute of some of its clients, and nothing of the recommender",
    source="attribute inference from uploaded parameters, Zhang, Yuan and Yin 2022 (arXiv 2205.11857)",
    summary="principal components of the uploads, each divided by its length, with no model of how they came about",
)
def upload_itself(seen: Uploads) -> NDArray[np.float32]:
    """(n_clients, at most 64) components, from the eigenvectors of the uploads' cosines."""
    kernel = cosines(seen.view, seen.view).astype(np.float64)
    n = len(kernel)
    count = min(_COMPONENTS, n - 1)
    if count < 1:
        return np.zeros((n, 1), dtype=np.float32)
    values, vectors = eigsh(kernel, k=count, v0=np.ones(n))
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0)), dtype=np.float32)
