"""The one error a page, the command line or a notebook catches."""


class TemperError(Exception):
    """Something a person can put right.

    `message` says in one sentence what was expected and what was given; `hint` says what to do.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()
