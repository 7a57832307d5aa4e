# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The compiled twin of `chatd.frames_pure`.

`send_all` borrows the bytes of the chunks while it has let go of the GIL; the list it was given
keeps them alive, and it keeps the list.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EINTR, errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

cdef extern from "sys/socket.h" nogil:
    ssize_t send(int, const void *, size_t, int)

cdef extern from *:
    """
    #include <sys/socket.h>
    #ifdef MSG_NOSIGNAL
    #define QUIETLY (MSG_NOSIGNAL | MSG_DONTWAIT)
    #else
    #define QUIETLY MSG_DONTWAIT  /* asyncio ignores SIGPIPE, as Python does */
    #endif
    """
    enum: QUIETLY

cdef struct Write:
    const char *data
    size_t size
    ssize_t sent
    int descriptor


cdef bytes unmasked(const uint8_t *payload, const uint8_t *key, Py_ssize_t size):
    cdef bytes plain = PyBytes_FromStringAndSize(NULL, size)
    cdef uint8_t *out = <uint8_t *>PyBytes_AS_STRING(plain)
    cdef uint32_t word
    cdef uint64_t mask, part
    cdef Py_ssize_t at = 0
    memcpy(&word, key, 4)
    mask = <uint64_t>word << 32 | word
    while at + 8 <= size:
        memcpy(&part, payload + at, 8)
        part ^= mask
        memcpy(out + at, &part, 8)
        at += 8
    while at < size:
        out[at] = payload[at] ^ key[at & 3]
        at += 1
    return plain


def whole_messages(bytes data not None, int opcode, Py_ssize_t max_bytes, Py_ssize_t limit):
    cdef const uint8_t *start = <const uint8_t *>PyBytes_AS_STRING(data)
    cdef Py_ssize_t left = PyBytes_GET_SIZE(data), at = 0, size, head
    cdef const uint8_t *frame
    cdef list messages = []
    while limit > 0 and left - at >= 6:
        frame = start + at
        if frame[0] != (0x80 | opcode) or not frame[1] & 0x80 or frame[1] == 0xFF:
            break
        size, head = frame[1] & 0x7F, 6
        if size == 126:
            size, head = frame[2] << 8 | frame[3], 8
        if size > max_bytes or left - at < head + size:
            break
        messages.append(unmasked(frame + head, frame + head - 4, size))
        at += head + size
        limit -= 1
    return messages, at


def send_all(list descriptors not None, list chunks not None):
    cdef Py_ssize_t count = len(descriptors), place
    cdef Write *writes
    cdef bytes chunk
    cdef list unsent = []
    if count != len(chunks):
        raise ValueError("a chunk for each descriptor")
    writes = <Write *>malloc((count or 1) * sizeof(Write))
    if writes == NULL:
        raise MemoryError
    try:
        for place in range(count):
            chunk = chunks[place]
            writes[place].data = PyBytes_AS_STRING(chunk)
            writes[place].size = PyBytes_GET_SIZE(chunk)
            writes[place].descriptor = descriptors[place]
        with nogil:
            for place in range(count):
                while True:
                    writes[place].sent = send(
                        writes[place].descriptor, writes[place].data, writes[place].size, QUIETLY
                    )
                    if writes[place].sent >= 0 or errno != EINTR:
                        break
        for place in range(count):
            if writes[place].sent != <ssize_t>writes[place].size:
                unsent.append((place, max(writes[place].sent, <ssize_t>0)))
    finally:
        free(writes)
    return unsent
