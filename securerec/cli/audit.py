"""placeholder"""
import typer
def audit_command() -> None:
    """x"""
