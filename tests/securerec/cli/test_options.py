"""The help of the flags that settings become."""

import re

from securerec.cli.options import _choices, _default, _flag_type, _metavar
from securerec.config import known_keys


def test_help_shows_defaults_in_few_places_and_metavars_that_fit_a_line() -> None:
    for key, field in known_keys().items():
        assert not re.search(r"\.\d{5,}", _default(key)), key
        assert _flag_type(field.annotation) is bool or len(_metavar(field)) <= 12, key
    model = known_keys()["training", "model"]
    assert _metavar(model) == "NAME" and "auto, pfedrec, fedmf" in _choices(model)
    assert _metavar(known_keys()["evaluation", "keep"]) == "last|best"
    assert "0.2577" in _default(("start", "popularity_share"))
