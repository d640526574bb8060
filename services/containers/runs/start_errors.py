"""What the runtime says when a process cannot be started, as Docker's clients read it.

The clients look for the runtime's words in the text to choose their exit status, so the text goes
through whole; the exit code that a container or exec shows is chosen here by the same words.
"""

from __future__ import annotations

from typing import Final

from services.errors import EngineError, InvalidParameter

CANNOT_INVOKE: Final = 126
NOT_FOUND: Final = 127
CANNOT_START: Final = 128

_CODE_OF_WORDS: Final = (
    ("executable file not found", NOT_FOUND),
    ("no such file or directory", NOT_FOUND),
    ("system cannot find the file specified", NOT_FOUND),
    ("permission denied", CANNOT_INVOKE),
    ("is a directory", CANNOT_INVOKE),
    ("not a directory", NOT_FOUND),
)

_FILE_OVER_DIRECTORY: Final = (
    "Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host "
    "path exists and is the expected type"
)


def exit_code_of_failed_start(message: str) -> int:
    """126, 127 or 128, by what the runtime complained of."""
    lowered = message.lower()
    return next((code for words, code in _CODE_OF_WORDS if words in lowered), CANNOT_START)


def exit_code_of_failed_exec(message: str) -> int:
    """As a failed start's; 126 when the runtime was not even asked (an unknown user, say)."""
    return exit_code_of_failed_start(message) if "OCI runtime" in message else CANNOT_INVOKE


def is_users_mistake(message: str) -> bool:
    """Whether the command rather than the engine is at fault."""
    return exit_code_of_failed_start(message) != CANNOT_START


def text_of_failed_start(message: str, what: str) -> str:
    """The runtime's message for an `exec` or a `task`, in dockerd's frame."""
    begin = "OCI runtime exec failed" if what == "exec" else "failed to create shim task"
    _, found, rest = message.partition(begin)
    text = found + rest if found else message
    return text if what == "exec" else f"failed to create task for container: {text}"


def start_error(error: EngineError | OSError) -> EngineError:
    """containerd's words in dockerd's frame; 400 when the command is at fault.

    What the kernel refuses (a link, a file on a full disk) is told to the client as it stands.
    """
    if isinstance(error, OSError):
        return EngineError(f"the container could not be set up: {error.strerror or error}")
    message = str(error)
    if "OCI runtime" not in message:
        return error
    framed = text_of_failed_start(message, "task")
    if "not a directory" in message:
        framed = f"{framed}: {_FILE_OVER_DIRECTORY}"
    return InvalidParameter(framed) if is_users_mistake(message) else EngineError(framed)
