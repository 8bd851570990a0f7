"""Figures in one manner: colours that colour-blind people tell apart, files that refer to nothing outside them."""

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from securerec.errors import ConfigError
from securerec.files import write_atomic

BLUE, ORANGE, GREEN, PINK, SKY, YELLOW, BROWN = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#F0E442", "#E69F00",
)  # fmt: skip
"""Okabe and Ito's palette; marks and words say the same again."""
GREY, PALE, INK = "#8A8A8A", "#C9C9C9", "#333333"

_ELSEWHERE = re.compile(rb"<!DOCTYPE[^>]*>\s*|<metadata>.*?</metadata>\s*", re.DOTALL)
"""What in an SVG of matplotlib's names addresses of standards, and draws nothing."""


def style() -> Any:
    """Settings of matplotlib's that hold for these figures alone. Raises ConfigError where it is not installed."""
    try:
        from matplotlib import rc_context
    except ImportError:
        raise ConfigError("pictures need matplotlib: install it") from None
    return rc_context({"svg.hashsalt": "securerec", "font.size": 9})


def figure(columns: int, rows: int = 1, *, width: float = 5.4, height: float = 4.6, **shared: Any) -> tuple[Any, Any]:
    """A figure and its axes (rows, columns); width and height of one in inches."""
    with style():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        made = Figure(figsize=(0.4 + width * columns, 1.1 + height * rows), layout="constrained")
        FigureCanvasAgg(made)
        return made, made.subplots(rows, columns, squeeze=False, **shared)


def captioned(made: Any, title: str, notes: Sequence[str]) -> None:
    """A title above, and what has to be known to read the picture below it."""
    made.suptitle(title, fontsize=10, x=0.01, ha="left")
    made.supxlabel("\n".join(_wrapped(note, made) for note in notes), fontsize=7.5, x=0.01, ha="left", color="#444444")


def save(made: Any, folder: Path, name: str, title: str, *, private: bool) -> list[Path]:
    """Write `name`.png and `name`.svg into the folder, each whole or not at all; the same figure gives the same bytes.

    private: only the owner may read them. Raises ConfigError where the folder cannot be written.
    """
    written = []
    for kind in ("png", "svg"):
        data = io.BytesIO()
        # Without a date and a program the same figures give the same bytes.
        unsaid = ("Date",) if kind == "svg" else ("Software",)
        with style():
            made.savefig(data, format=kind, dpi=150, metadata={"Title": title, **dict.fromkeys(unsaid)})
        path = folder / f"{name}.{kind}"
        content = data.getvalue() if kind == "png" else _ELSEWHERE.sub(b"", data.getvalue())
        try:
            write_atomic(path, content, private=private)
        except OSError as error:
            raise ConfigError(f"{path} cannot be written ({error.strerror}): give --out another folder") from None
        written.append(path)
    return written


def _wrapped(text: str, made: Any) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, int(made.get_size_inches()[0] * 17.5)))
