"""The command line: one command with sub-commands, each thin."""

import sys

import typer

from attacks.errors import AttackError
from protocols.errors import ProtocolError
from securerec.errors import SecurerecError

app = typer.Typer(
    name="securerec",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help=(
        "A recommender that is trained where the data lives.\n\n"
        "Every device keeps its interactions and its score function. What leaves it is one update of the item table: "
        "clipped, noised, encrypted, and opened only as a sum over the cohort.\n\n"
        "[bold]A tour[/bold]\n\n"
        "securerec run                   train on MovieLens-100K, privacy on\n\n"
        "securerec recommend RUN --user 196   what one device recommends\n\n"
        "securerec explain RUN --user 196 --item 1   why it scores an item as it does\n\n"
        "securerec pictures RUN          items, views and figures, drawn\n\n"
        "securerec audit RUN             attack what was recorded of a run\n\n"
        "securerec audit --dataset ml-100k   attack every defence, with what each costs\n\n"
        "securerec privacy explain RUN   what a run promised, in words\n\n"
        "securerec tradeoff              what privacy costs: utility and leakage over epsilon\n\n"
        "securerec bench quality         learners compared, without privacy\n\n"
        "securerec data list             data sets, and how to import your own\n\n"
        "securerec bench training        how fast a round is here\n\n"
        "securerec doctor                does everything work?"
    ),
)


# What every wrong use of an option or argument is; typer shows only its subclass by name.
USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]


def main() -> None:
    """Entry point of the `securerec` command: every known error is one line and its own exit code."""
    _register()
    try:
        sys.exit(app(standalone_mode=False))
    except USAGE_ERROR as error:
        if not str(error):
            # A command without its sub-command: its help is the message.
            error.show()  # type: ignore[attr-defined]
            sys.exit(2)
        _leave(" ".join(error.format_message().split()), 2)  # type: ignore[attr-defined]
    except typer.Abort:
        _leave("stopped", 130)
    except (SecurerecError, AttackError, ProtocolError) as error:
        _leave(str(error), error.exit_code)
    except OSError as error:
        _leave(f"{error.filename or 'a file'}: {error.strerror or error}", 1)


def _leave(message: str, code: int) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)


def _register() -> None:
    if app.registered_commands:
        # By an earlier call in the same process: a second registration would add every command again.
        return
    from securerec.cli import (
        arrivals,
        audit,
        bench,
        chaos,
        data,
        deploy,
        device,
        doctor,
        explain,
        keys,
        pictures,
        privacy,
        quality,
        recommend,
        run,
        tradeoff,
    )

    app.command("run")(run.run_command)
    app.command("resume")(run.resume_command)
    app.command("continue")(arrivals.continue_command)
    app.command("recommend")(recommend.recommend_command)
    app.command("explain")(explain.explain_command)
    app.command("pictures")(pictures.pictures_command)
    app.command("audit")(audit.audit_command)
    app.add_typer(data.app, name="data")
    app.add_typer(keys.app, name="keys")
    app.add_typer(privacy.app, name="privacy")
    app.add_typer(bench.app, name="bench")
    app.add_typer(deploy.app, name="deploy")
    app.add_typer(device.app, name="device")
    bench.app.command("quality")(quality.quality_command)
    bench.app.command("arrivals")(arrivals.bench_command)
    bench.app.command("chaos")(chaos.chaos_command)
    bench.app.command("uploads")(chaos.uploads_command)
    app.command("tradeoff")(tradeoff.tradeoff_command)
    app.command("doctor")(doctor.doctor_command)
