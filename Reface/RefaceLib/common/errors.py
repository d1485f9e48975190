"""The exceptions of RefaceLib: each carries one sentence that tells the user what is wrong and what to do."""


class RefaceError(Exception):
    """Base of every error that a user may meet; its text is one sentence."""


class InputError(RefaceError):
    """The input file or volume cannot be used."""


class HeadNotFoundError(InputError):
    """The volume holds no head, or not enough of one, to find a face in."""


class OtherHeadError(InputError):
    """The volume does not show the head with which it was compared."""


class OutputError(RefaceError):
    """An output cannot be written; nothing was left half-written."""


class WeightsError(RefaceError):
    """Network weights are missing or are not those of the registry."""


class PromiseError(RefaceError):
    """A check of the result failed (brain or outside voxels would have changed); nothing is written."""


class CancelledError(RefaceError):
    """The user stopped the run; nothing is written."""
