"""``python -m sandmount``."""

from sandmount.cli import main

main(prog_name="sandmount")
