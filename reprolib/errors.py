"""Errors that speak to a person."""


class UserError(ValueError):
    """Something the user can mend; the message is one sentence: what was expected, what was found, what to do."""

    def _render_traceback_(self) -> list[str]:
        """What IPython prints in place of a traceback, so that a notebook, too, shows only the sentence."""
        return [str(self)]
