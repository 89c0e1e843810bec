"""
The lock lab: the same orders under several ways to lock, side by side, on tables of the lab's own.

It is an experiment and no part of the shop: it imports nothing of the rooms' code but the embedded engines, and its
batch strategy is a lean rendition of the shop's pipeline, not the pipeline. `manage.py locklab` runs it.
"""
