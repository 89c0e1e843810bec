"""Customers misbehave: double clicks, lost answers, storms of repetitions; and operators restart the shop under them."""
