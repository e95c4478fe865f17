"""`python -m being` is the `being` command."""

from being.cli import main

main()
