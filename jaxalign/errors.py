"""The one exception that means: the user can fix this, and here is how."""


class UserError(Exception):
    """A mistake in what the user gave us, worded in one line.

    The message names the key or file, what is wrong, and what would be right. Commands print it on
    standard error without a traceback and exit with code 2.
    """
