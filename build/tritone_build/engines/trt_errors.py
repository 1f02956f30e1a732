"""What TensorRT says went wrong while it builds."""

from typing import Any

__all__ = ["error_recorder"]


def error_recorder(trt: Any) -> Any:
    """An IErrorRecorder of that TensorRT; ``told`` is what it was told, each thing once."""

    class Recorder(trt.IErrorRecorder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.told: list[str] = []

        def num_errors(self) -> int:
            return len(self.told)

        def get_error_code(self, number: int) -> Any:
            return trt.ErrorCodeTRT.UNSPECIFIED_ERROR

        def get_error_desc(self, number: int) -> str:
            return self.told[number]

        def has_overflowed(self) -> bool:
            return False

        def clear(self) -> None:
            self.told.clear()

        def report_error(self, code: Any, description: str) -> bool:
            if description not in self.told:
                self.told.append(description)
            return False

    return Recorder()
