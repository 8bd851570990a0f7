"""One release's timeline as a picture: a row for each party, a bar from the letter to its answer."""

from collections.abc import Sequence
from pathlib import Path

from securerec.deploy.watching import Span
from securerec.errors import ConfigError

COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#b279a2", "#e45756", "#72b7b2", "#9d755d")


def name_of(span: Span) -> str:
    """As the ledger names the attempt."""
    label = f"{span.release} {span.round_number}" if span.release == "round" else span.release
    return label if span.attempt == 1 else f"{label}, attempt {span.attempt}"


def draw(spans: Sequence[Span], out: Path, attempt: str | None = None) -> str:
    """Draw an attempt, the last one if none is named, and say what was drawn.

    Raises ConfigError where nothing was recorded of it, or the picture cannot be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    asked = [span for span in spans if span.kind in ("ask", "call")]
    names = list(dict.fromkeys(name_of(span) for span in asked))
    chosen = attempt or (names[-1] if names else "")
    shown = [span for span in asked if name_of(span) == chosen]
    if not shown:
        raise ConfigError(
            f"no letters of {chosen or 'any release'} are on record: there are {', '.join(names) or 'none'}"
        )
    parties = sorted({span.party for span in shown}, key=lambda name: (not name.startswith("node"), name))
    start = min(span.sent for span in shown)
    end = max(span.answered or span.sent for span in shown) - start
    figure, axes = plt.subplots(figsize=(10, 1.2 + 0.24 * len(parties)), layout="constrained")
    phases = sorted({span.phase for span in shown})
    colour = {phase: COLOURS[place % len(COLOURS)] for place, phase in enumerate(phases)}
    for span in shown:
        row, begun = parties.index(span.party), span.sent - start
        if span.answered is None:
            axes.plot(begun, row, marker="x", color="black")
        else:
            axes.barh(row, span.answered - span.sent, left=begun, height=0.7, color=colour[span.phase])
    axes.set_yticks(range(len(parties)), parties, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlim(0, max(end * 1.02, 1e-3))
    axes.set_xlabel("seconds since the first letter")
    megabytes = sum(span.bytes_out + span.bytes_in for span in shown) / 1e6
    axes.set_title(f"{chosen}: {len(parties)} parties, {end:.1f} s, {megabytes:.1f} MB (x: no answer)", fontsize=10)
    axes.legend(
        handles=[Patch(color=colour[phase], label=f"delivery {phase + 1}") for phase in phases], fontsize=7, ncols=2,
        loc="upper right",
    )  # fmt: skip
    try:
        figure.savefig(out, dpi=150)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{out} cannot be written: {error}") from None
    finally:
        plt.close(figure)
    return f"{chosen}, {len(parties)} parties"
