"""The benchmark: every figure the shop promises, measured by the commands anyone can run, in one table."""
