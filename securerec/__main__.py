"""`python -m securerec` is the same as the `securerec` command."""

from securerec.cli import main

main()
