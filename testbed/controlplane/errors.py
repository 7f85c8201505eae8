"""The one error of the control plane. Nothing in here does I/O."""


class OperatorError(Exception):
    """Something that the person at the keyboard can put right.

    The text says what failed, where, and what to do; the CLI prints it without a traceback and exits 4.
    """
