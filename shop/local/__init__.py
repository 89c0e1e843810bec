"""The shop on one machine: the embedded engines, the parts of the shop, and the supervisor that runs them."""
