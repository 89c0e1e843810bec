"""How passwords are hashed."""

from django.contrib.auth.hashers import Argon2PasswordHasher


class Argon2id(Argon2PasswordHasher):
    """
    Argon2id at OWASP's first recommendation (19 MiB, 2 passes, 1 lane): about 20 ms a login.

    Django's PBKDF2 with a million rounds takes ten times that, and a storm of logins shares two cores with the sale.
    Source: OWASP Password Storage Cheat Sheet.
    """

    memory_cost = 19_456
    time_cost = 2
    parallelism = 1
