"""Why an answer ends before, or otherwise than, its model wanted."""

from __future__ import annotations


class Lost(Exception):
    """Another worker has this answer, or it was ended: nothing more is said or done here."""


class Enough(Exception):
    """The answer is as long as answers may be: it ends as stopped, with its text."""


class Unanswered(Exception):
    """The model came to its end, and there is no answer."""

    def __init__(self, detail: str, *, code: str, retryable: bool = True) -> None:
        super().__init__(detail)
        self.code, self.detail, self.retryable = code, detail, retryable
