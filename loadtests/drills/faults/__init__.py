"""The faults, by what they hit; each is a generator that breaks something before its `yield` and mends it after."""
