"""Files with a few bytes changed, for the tests of everything that reads files."""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from reprolib.errors import UserError

FILES_PER_READER = int(os.environ.get("REPROLIB_FUZZ", "60"))
many = settings(
    max_examples=FILES_PER_READER,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@st.composite
def damaged(draw, content: bytes) -> bytes:
    """`content` with a few bytes changed, cut out, repeated or put in, more often near its start than elsewhere."""
    for _ in range(draw(st.integers(1, 5))):
        size = max(1, len(content))
        at = draw(st.one_of(st.integers(0, min(size, 256)), st.integers(0, size)))
        kind = draw(st.sampled_from(("change", "cut", "end", "repeat", "insert")))
        length = draw(st.integers(1, 16))
        if kind == "change":
            content = content[:at] + draw(st.binary(min_size=length, max_size=length)) + content[at + length :]
        elif kind == "cut":
            content = content[:at] + content[at + length :]
        elif kind == "end":
            content = content[:at]
        elif kind == "repeat":
            content = content[: at + length] + content[at:]
        else:
            content = content[:at] + draw(st.one_of(st.binary(max_size=16), TOKENS)) + content[at:]
    return content


TOKENS = st.sampled_from(
    [b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\n", b"{", b"}", b'"', b",", b"nan", b"1e999", b"-1", b"../", b" ",
     b"<html>", "\u0661".encode(), "\u00b2".encode(), b"99999999999999999999", b"\x1c"]
)  # fmt: skip


def reads_or_says(read, path, content):
    """Whether the file was read; every other outcome than a sentence that names the file fails."""
    path.write_bytes(content)
    try:
        read(path)
    except UserError as error:
        assert str(path) in str(error) or path.name in str(error)
        return False
    return True
