"""`python -m callwright` is the `callwright` command."""

from callwright.commands import main

main()
