# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The compiled twin of `sfu.inlet_pure`.

The way of a packet through `Publisher.receive_rtp` and `Track.receive` when each of their
questions has its usual answer. All that is kept is kept in their attributes, where the next
packet, or a report, or a new receiver finds it: nothing is remembered here.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy

from sfu.errors import RtpError
from sfu.fanout import forward
from sfu.keyframes import KEY_FRAMES
from sfu.rewrite import find_element, find_transport_sequence, normalise, read_header

ctypedef int (*Unprotect)(void *srtp, void *packet, int *size) noexcept nogil

cdef enum:
    NOT_TAKEN = 0  # as `inlet_pure` has them
    FORWARDED = 1
    DECIDED = 2
    LIMIT_BYTES = 2048  # what `DtlsSrtp.unprotect_rtp` accepts
    # libsrtp's `srtp_err_status_t`
    AUTH_FAIL = 7
    REPLAY_FAIL = 9
    REPLAY_OLD = 10

# Calls do not interleave, and each leaves with a copy.
cdef uint8_t scratch[LIMIT_BYTES + 148]


cdef inline uint32_t read16(const uint8_t *at) noexcept:
    return (<uint32_t>at[0] << 8) | at[1]


cdef inline uint32_t read32(const uint8_t *at) noexcept:
    return (read16(at) << 16) | read16(at + 2)


cdef class Inlet:
    cdef object counters
    cdef object owner  # of `srtp`
    cdef object publisher
    cdef dict sources
    cdef void *srtp
    cdef Unprotect unprotect

    def __cinit__(self, counters not None):
        self.counters = counters

    def key(self, receiver not None):
        owner, srtp, unprotect = receiver
        self.unkey()
        self.owner = owner
        self.srtp = <void *><uintptr_t>srtp
        self.unprotect = <Unprotect><uintptr_t>unprotect

    def unkey(self):
        self.srtp = NULL
        self.owner = None

    def serve(self, publisher not None):
        self.publisher = publisher
        self.sources = publisher._sources

    def receive(self, bytes datagram not None, double now):
        cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(datagram)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(datagram)
        cdef int64_t highest, place, start, end
        cdef int status, length
        cdef bytes packet
        cdef tuple header
        # RFC 5761 section 4: RTCP has 192 to 223 where RTP has marker and payload type.
        if self.srtp == NULL or self.sources is None or not 12 <= size <= LIMIT_BYTES:
            return NOT_TAKEN
        if data[0] >> 6 != 2 or 192 <= data[1] <= 223:
            return NOT_TAKEN
        publisher = self.publisher
        source = self.sources.get(read32(data + 8))
        if source is None or source.repairs is not None or source.first_at < 0:
            return NOT_TAKEN
        detector = source.detector
        track = source.track
        highest = detector.highest
        if highest < 0 or <uint16_t>(read16(data + 2) - highest) != 1:
            return NOT_TAKEN
        place = highest + 1 + <int64_t>track._shift
        if (
            track.current is not source
            or track._muted
            or track._waiting
            or place != <int64_t>track.highest + 1
            or publisher._report_at is None
            or track.key_frame_pending
        ):
            return NOT_TAKEN
        codec = track.formats.get(data[1] & 0x7F)
        if codec is None or codec is not track.codec:
            return NOT_TAKEN

        memcpy(scratch, data, size)
        length = <int>size
        status = self.unprotect(self.srtp, scratch, &length)
        if status != 0:
            self.counters.dropped[cause(status)] += 1
            return FORWARDED
        packet = PyBytes_FromStringAndSize(<const char *>scratch, length)
        try:
            header = read_header(packet)
        except RtpError:
            publisher.receive_rtp(packet, now)
            return DECIDED
        start = header[8]
        end = header[9]
        if start == end or may_start_key_frame(codec.name, scratch + start, end - start):
            publisher.receive_rtp(packet, now)
            return DECIDED

        tally = publisher.tally
        tally.packets_in += 1
        tally.bytes_in += length
        publisher.ingress_bytes += length
        track.ingress_bytes += length
        identifier = publisher.transport_id
        if identifier:
            number = find_transport_sequence(packet, header, identifier)
            if number >= 0:
                publisher.note_arrival(number, now)
        detector.highest = highest + 1
        source.reception.receive(header[3], codec.clock_rate, now)
        track.packets += 1
        track.highest = place
        track._timestamp = header[3]
        track._arrival = now
        try:
            if track._level_id:
                level = find_element(packet, header, track._level_id)
                if level:
                    track._loudness.receive(level[0] & 0x7F, now)
            send(track, tally, packet, header, place, end - start, now)
        except RtpError as error:
            tally.drop(error.cause)
        return FORWARDED


cdef int send(
    track, tally, bytes packet, tuple header, int64_t place, int64_t octets, double now
) except -1:
    """Do what `Track._forward` does with a packet in order."""
    cdef int64_t timestamp = <int64_t>header[3] + <int64_t>track._timestamp_shift
    cdef int64_t send_time = <int64_t>(now * 262144)
    cdef Py_ssize_t count
    cdef bytes template
    for flavour in track._flavour_list:
        mapped = flavour.payload_types.get(header[1])
        if mapped is None:
            track.drop("codec")
            continue
        template = normalise(
            packet,
            header,
            flavour.identifiers,
            mapped,
            place,
            timestamp,
            flavour.send_time_id,
            send_time,
            flavour.transport_id,
        )
        flavour.ring.put(place, template)
        flows = flavour.flows
        count = len(flows)
        if count == 0:
            continue
        track.forwarded_at = now
        forward(flows, template, place, timestamp, octets)
        tally.packets_out += count
        tally.bytes_out += count * PyBytes_GET_SIZE(template)
    return 0


cdef bint may_start_key_frame(name, const uint8_t *payload, int64_t size) except -1:
    """Tell whether the codec's reader in `sfu.keyframes` must look at a payload."""
    if name not in KEY_FRAMES:
        return False
    if name == "VP8":
        return may_start_vp8(payload, size)
    if name == "H264":
        # What continues a fragment (FU-A) starts nothing.
        return size < 2 or payload[0] & 0x1F != 28 or payload[1] & 0x80 != 0
    return True


cdef bint may_start_vp8(const uint8_t *payload, int64_t size) noexcept:
    """Tell whether a frame begins here that needs no other; as `vp8_key_frame` reads it."""
    cdef int64_t position = 1
    if payload[0] & 0x17 != 0x10:  # S set, partition 0
        return False
    if payload[0] & 0x80:
        if size < 2:
            return False
        position = 2
        if payload[1] & 0x80:
            if size < 3:
                return False
            position += 2 if payload[2] & 0x80 else 1
        position += (payload[1] >> 6) & 1  # TL0PICIDX
        position += 1 if payload[1] & 0x30 else 0  # TID and KEYIDX share a byte
    return size >= position + 10 and payload[position] & 1 == 0


cdef str cause(int status):
    if status == AUTH_FAIL:
        return "srtp_bad_authentication"
    if status == REPLAY_FAIL or status == REPLAY_OLD:
        return "srtp_replayed"
    return "srtp_malformed"
