"""Errors that speak to a person."""


class UserError(ValueError):
    """Something the user can mend; the message is one sentence: what was expected, what was found, what to do."""
