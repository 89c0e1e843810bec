"""How the admin writes dates: the same in every language, down to the second."""
