"""How a drill can come to nothing."""


class CannotDrill(Exception):
    """The shop of the drill could not be brought up; the message says where its log is."""


class NotPossible(Exception):
    """This machine does not allow the fault; the message is the reason's key. The drill is skipped, not passed."""
