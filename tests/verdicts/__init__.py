"""What tools say of a Sandbox: the verdicts of kstatus, Argo CD and Flux, from their own code.

`go/` is the program that asks them, `verdicts.py` builds it once and runs it, `table.py` has what they are to say, and
`recorded/` the Sandboxes that they are asked about.
"""
