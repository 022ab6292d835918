"""What a stage prints where nobody reads it any more: who started it was killed, and the stage goes on."""

import io
import os
import sys


def outlives_its_reader() -> None:
    """From now on, what goes to a pipe without a reader is dropped: it is no error of the work that says it."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        buffered = isinstance(stream, io.TextIOWrapper) and stream.buffer
        raw = getattr(buffered, "raw", buffered)  # there is no buffer under PYTHONUNBUFFERED
        if not isinstance(raw, io.FileIO) or raw.fileno() != number:  # someone else's, as under pytest
            continue
        stream.flush()
        lasting = _Lasting(number, "w", closefd=False)
        by_line, at_once = stream.line_buffering, stream.write_through
        buffer = lasting if raw is buffered else io.BufferedWriter(lasting)
        setattr(sys, name, io.TextIOWrapper(buffer, stream.encoding, stream.errors, None, by_line, at_once))


class _Lasting(io.FileIO):
    def write(self, data) -> int | None:
        try:
            return super().write(data)
        except BrokenPipeError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())  # for what writes there by itself, too
            os.close(null)
            return super().write(data)
