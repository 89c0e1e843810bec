"""Somebody holds what the shop needs: rows, transactions, connections."""
