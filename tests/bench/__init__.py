"""How fast the operator is and what it costs: measured, beside bare Pods that the same generator creates.

No test is here and nothing is asserted about a time: `make bench` and `make bench-scale` print figures and write them
down. docs/performance.md says how each is taken and how to read it.
"""
