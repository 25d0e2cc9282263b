"""``python -m sandmount.people`` is ``kubectl sandbox``."""

from sandmount.people.command import main

main(prog_name="kubectl sandbox")
