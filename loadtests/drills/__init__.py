"""
Drills: one fault at a time under load, and the proof that nothing was lost or doubled.

A drill is a small generator in `faults/`: what it does before its `yield` breaks something, what comes after mends it.
`runner` puts customers on a shop of its own around it, `watch` measures when the shop noticed and when it was well
again, `judge` compares what customers were told with what PostgreSQL holds, `sheet` writes the incident sheet.
"""
