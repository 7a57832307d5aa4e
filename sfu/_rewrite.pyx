# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The compiled twin of `sfu.rewrite_pure`: arithmetic on bytes and nothing else."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy, memset

from sfu.errors import RtpError


cdef inline uint32_t read16(const uint8_t *at) noexcept nogil:
    return (<uint32_t>at[0] << 8) | at[1]


cdef inline uint32_t read32(const uint8_t *at) noexcept nogil:
    return (read16(at) << 16) | read16(at + 2)


cdef inline void write16(uint8_t *at, int64_t value) noexcept nogil:
    at[0] = <uint8_t>(value >> 8)
    at[1] = <uint8_t>value


cdef inline void write32(uint8_t *at, int64_t value) noexcept nogil:
    write16(at, value >> 16)
    write16(at + 2, value)


cdef struct Walk:
    const uint8_t *data
    Py_ssize_t position
    Py_ssize_t end
    int width  # bytes before a value: 1, 2, or 0 for an unknown profile
    int identifier
    Py_ssize_t start
    Py_ssize_t stop


cdef void begin(Walk *walk, bytes packet, tuple header) except *:
    cdef Py_ssize_t size = PyBytes_GET_SIZE(packet)
    cdef int profile = header[5]
    walk.data = <const uint8_t *>PyBytes_AS_STRING(packet)
    walk.position = header[6]
    walk.end = header[7]
    if walk.position < 0 or walk.end > size:
        raise IndexError("header of another packet")
    if profile == 0xBEDE:
        walk.width = 1
    elif profile & 0xFFF0 == 0x1000:
        walk.width = 2
    else:
        walk.width = 0


cdef int advance(Walk *walk) except -1:
    """Go to the next element; 0 at the end."""
    cdef uint8_t mark
    if walk.width == 0:
        return 0
    while walk.position < walk.end:
        mark = walk.data[walk.position]
        walk.position += 1
        if walk.width == 1:
            walk.identifier = mark >> 4
            if walk.identifier == 0:
                continue
            if walk.identifier == 15:
                return 0
            walk.start = walk.position
            walk.stop = walk.start + (mark & 0x0F) + 1
        else:
            walk.identifier = mark
            if mark == 0:
                continue
            if walk.position == walk.end:
                raise RtpError("rtp_element")
            walk.start = walk.position + 1
            walk.stop = walk.start + walk.data[walk.position]
        if walk.stop > walk.end:
            raise RtpError("rtp_element")
        walk.position = walk.stop
        return 1
    return 0


def read_header(bytes packet not None):
    cdef Py_ssize_t size = PyBytes_GET_SIZE(packet)
    cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(packet)
    cdef Py_ssize_t start, end = size, elements_start = 0, elements_end = 0
    cdef uint32_t profile = 0
    if size < 12:
        raise RtpError("rtp_short")
    if data[0] >> 6 != 2:
        raise RtpError("rtp_version")
    start = 12 + 4 * (data[0] & 0x0F)
    if start > size:
        raise RtpError("rtp_csrc")
    if data[0] & 0x10:
        if start + 4 > size:
            raise RtpError("rtp_extension")
        profile = read16(data + start)
        elements_start = start + 4
        elements_end = elements_start + 4 * <Py_ssize_t>read16(data + start + 2)
        start = elements_end
        if start > size:
            raise RtpError("rtp_extension")
    if data[0] & 0x20:
        if not 0 < data[size - 1] <= size - start:
            raise RtpError("rtp_padding")
        end = size - data[size - 1]
    return (
        data[1] >> 7,
        data[1] & 0x7F,
        read16(data + 2),
        read32(data + 4),
        read32(data + 8),
        profile,
        elements_start,
        elements_end,
        start,
        end,
    )


def find_element(bytes packet not None, tuple header not None, int identifier):
    cdef Walk walk
    begin(&walk, packet, header)
    while advance(&walk):
        if walk.identifier == identifier:
            return packet[walk.start:walk.stop]
    return None


def find_transport_sequence(bytes packet not None, tuple header not None, int identifier):
    cdef Walk walk
    begin(&walk, packet, header)
    try:
        while advance(&walk):
            if walk.identifier == identifier:
                return read16(walk.data + walk.start) if walk.stop - walk.start == 2 else -1
    except RtpError:
        pass
    return -1


def normalise(
    bytes packet not None,
    tuple header not None,
    bytes identifiers not None,
    int payload_type,
    int64_t sequence,
    int64_t timestamp,
    int send_time_id,
    int64_t send_time,
    int transport_id=0,
):
    cdef Walk walk
    cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(packet)
    cdef const uint8_t *mapped = <const uint8_t *>PyBytes_AS_STRING(identifiers)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(packet)
    cdef Py_ssize_t start = header[8], end = header[9]
    cdef Py_ssize_t csrcs, length, count = 0, values = 0, body = 0, block = 0
    cdef int marker = header[0], width = 1, identifier
    cdef uint8_t *out
    cdef bytes result

    if PyBytes_GET_SIZE(identifiers) != 256:
        raise IndexError("identifiers are not 256 bytes")
    if size < 12 or start < 12 or start > end or end > size:
        raise IndexError("header of another packet")
    csrcs = 4 * (data[0] & 0x0F)
    if csrcs > start - 12:
        raise IndexError("header of another packet")

    # First walk: how long, and whether every element fits the one-byte form.
    if send_time_id:
        count = 1
        values = 3
        if send_time_id > 14:
            width = 2
    if transport_id:
        count += 1
        values += 2
        if transport_id > 14:
            width = 2
    begin(&walk, packet, header)
    while advance(&walk):
        identifier = mapped[walk.identifier]
        if identifier:
            length = walk.stop - walk.start
            count += 1
            values += length
            if identifier > 14 or length == 0 or length > 16:
                width = 2
    if count:
        body = (count * width + values + 3) & ~<Py_ssize_t>3
        block = 4 + body

    result = PyBytes_FromStringAndSize(NULL, 12 + csrcs + block + end - start)
    out = <uint8_t *>PyBytes_AS_STRING(result)
    out[0] = 0x80 | (0x10 if count else 0) | (data[0] & 0x0F)
    out[1] = (marker << 7) | payload_type
    write16(out + 2, sequence)
    write32(out + 4, timestamp)
    memcpy(out + 8, data + 8, 4 + csrcs)
    out += 12 + csrcs

    # Second walk: write.
    if count:
        write16(out, 0xBEDE if width == 1 else 0x1000)
        write16(out + 2, body >> 2)
        out += 4
        memset(out, 0, body)
        body -= count * width + values
        if transport_id:
            out = mark_element(out, width, transport_id, 2) + 2  # zero until `patch`
        if send_time_id:
            out = mark_element(out, width, send_time_id, 3)
            out[0] = <uint8_t>(send_time >> 16)
            write16(out + 1, send_time)
            out += 3
        begin(&walk, packet, header)
        while advance(&walk):
            identifier = mapped[walk.identifier]
            if identifier:
                length = walk.stop - walk.start
                out = mark_element(out, width, identifier, length)
                memcpy(out, data + walk.start, length)
                out += length
        out += body
    memcpy(out, data + start, end - start)
    return result


cdef inline uint8_t *mark_element(
    uint8_t *out, int width, int identifier, Py_ssize_t length
) noexcept nogil:
    if width == 1:
        out[0] = <uint8_t>((identifier << 4) | (length - 1))
        return out + 1
    out[0] = <uint8_t>identifier
    out[1] = <uint8_t>length
    return out + 2


def patch(
    bytes template not None,
    uint32_t ssrc,
    int64_t sequence,
    int64_t timestamp,
    int64_t transport_sequence=-1,
):
    cdef Py_ssize_t size = PyBytes_GET_SIZE(template), block
    cdef bytes result
    cdef uint8_t *out
    if size < 12:
        raise IndexError("not a normalised packet")
    result = PyBytes_FromStringAndSize(NULL, size)
    out = <uint8_t *>PyBytes_AS_STRING(result)
    memcpy(out, PyBytes_AS_STRING(template), size)
    write16(out + 2, sequence)
    write32(out + 4, timestamp)
    write32(out + 8, ssrc)
    if transport_sequence >= 0:
        block = 12 + 4 * (out[0] & 0x0F)
        if block + 8 > size:
            raise IndexError("no place for a transport sequence number")
        write16(out + block + (5 if read16(out + block) == 0xBEDE else 6), transport_sequence)
    return result
