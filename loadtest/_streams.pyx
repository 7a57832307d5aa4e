# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The clients' packets: sent in time, received, decrypted and counted, all without the GIL.

Nobody sleeps on a receiver's socket: they are swept every few milliseconds, and the kernel's time
of arrival tells the delay. So the sender of a datagram, which is the server under test, is not
charged with waking the client up; a network card would not charge it either.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uintptr_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memset

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <time.h>
    #include <sys/types.h>
    #include <sys/socket.h>
    """
    enum: MSG_DONTWAIT, SOL_SOCKET, SO_TIMESTAMPNS, CLOCK_MONOTONIC, CLOCK_REALTIME, TIMER_ABSTIME
    struct timespec:
        long tv_sec
        long tv_nsec
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    struct cmsghdr:
        int cmsg_level
        int cmsg_type
    cmsghdr *CMSG_FIRSTHDR(msghdr *message) nogil
    unsigned char *CMSG_DATA(cmsghdr *header) nogil
    int clock_gettime(int clock, timespec *now) nogil
    int clock_nanosleep(int clock, int flags, const timespec *until, timespec *rest) nogil
    int recvmmsg(int fd, mmsghdr *messages, unsigned int count, int flags, void *timeout) nogil
    ssize_t send(int fd, const void *data, size_t size, int flags) nogil

ctypedef int (*Transform)(void *srtp, void *packet, int *size) noexcept nogil

cdef enum:
    BATCH = 64
    READ_BYTES = 2048
    CONTROL_BYTES = 64
    PACKET_BYTES = 2048
    # One microsecond each; what took longer is in the last one.
    DELAYS = 1000000
    CATCH_UP_NS = 100000000


cdef struct Receiver:
    int fd
    void *srtp
    int64_t received
    uint32_t ssrc  # of the last packet
    uint16_t sequence


cdef struct Sender:
    int fd
    void *srtp
    uint8_t packet[PACKET_BYTES]  # the packet to come, in the clear, the stamp last
    int size
    int start  # of the payload
    bint video
    int burst  # packets at once
    int picture  # packets a picture
    int step  # of the timestamp, from one picture to the next
    int64_t distance_ns
    int64_t due_ns
    int64_t sent
    uint16_t sequence
    uint32_t timestamp
    bint key_wanted
    bint key


cdef inline int64_t read_clock(int clock) noexcept nogil:
    cdef timespec now
    clock_gettime(clock, &now)
    return <int64_t>now.tv_sec * 1000000000 + now.tv_nsec


cdef inline void write_bytes(uint8_t *at, int64_t value, int count) noexcept nogil:
    cdef int i
    for i in range(count):
        at[i] = <uint8_t>(value >> (8 * (count - 1 - i)))


cdef inline int64_t read_bytes(const uint8_t *at, int count) noexcept nogil:
    cdef int i
    cdef int64_t value = 0
    for i in range(count):
        value = value << 8 | at[i]
    return value


cdef class Streams:
    """Senders and receivers on sockets that their owner keeps open, with keys it keeps alive."""

    cdef Transform protect
    cdef Transform unprotect
    cdef Receiver *receivers
    cdef int receiver_count
    cdef Sender *senders
    cdef int sender_count
    cdef uint32_t *delays
    cdef mmsghdr *messages
    cdef iovec *parts
    cdef uint8_t *data
    cdef uint8_t *controls
    cdef int64_t sweep_ns
    cdef readonly int64_t received
    cdef readonly int64_t refused
    cdef readonly int64_t sent
    cdef readonly int64_t late  # bursts that left more than their distance late
    cdef public bint sending

    def __cinit__(self, uintptr_t protect, uintptr_t unprotect, int64_t sweep_ns):
        cdef int i
        self.protect = <Transform>protect
        self.unprotect = <Transform>unprotect
        self.sweep_ns = sweep_ns
        self.sending = True
        self.delays = <uint32_t *>calloc(DELAYS, sizeof(uint32_t))
        self.messages = <mmsghdr *>calloc(BATCH, sizeof(mmsghdr))
        self.parts = <iovec *>calloc(BATCH, sizeof(iovec))
        self.data = <uint8_t *>calloc(BATCH, READ_BYTES)
        self.controls = <uint8_t *>calloc(BATCH, CONTROL_BYTES)
        if not (self.delays and self.messages and self.parts and self.data and self.controls):
            raise MemoryError
        for i in range(BATCH):
            self.parts[i].iov_base = self.data + i * READ_BYTES
            self.parts[i].iov_len = READ_BYTES
            self.messages[i].msg_hdr.msg_iov = &self.parts[i]
            self.messages[i].msg_hdr.msg_iovlen = 1
            self.messages[i].msg_hdr.msg_control = self.controls + i * CONTROL_BYTES

    def __dealloc__(self):
        free(self.receivers)
        free(self.senders)
        free(self.delays)
        free(self.messages)
        free(self.parts)
        free(self.data)
        free(self.controls)

    def add_receiver(self, int fd, uintptr_t srtp):
        cdef Receiver *grown = <Receiver *>realloc(
            self.receivers, (self.receiver_count + 1) * sizeof(Receiver)
        )
        if grown == NULL:
            raise MemoryError
        self.receivers = grown
        memset(&grown[self.receiver_count], 0, sizeof(Receiver))
        grown[self.receiver_count].fd = fd
        grown[self.receiver_count].srtp = <void *>srtp
        self.receiver_count += 1
        return self.receiver_count - 1

    def add_sender(
        self,
        int fd,
        uintptr_t srtp,
        bytes packet not None,
        int start,
        *,
        bint video,
        int burst,
        int picture,
        int step,
        int64_t distance_ns,
        int64_t offset_ns,
    ):
        cdef Sender *grown
        cdef Sender *sender
        if not 12 <= start <= PyBytes_GET_SIZE(packet) - 18 <= PACKET_BYTES - 180:
            raise ValueError("a packet needs a payload of at least 18 bytes and fits a datagram")
        grown = <Sender *>realloc(self.senders, (self.sender_count + 1) * sizeof(Sender))
        if grown == NULL:
            raise MemoryError
        self.senders = grown
        sender = &grown[self.sender_count]
        memset(sender, 0, sizeof(Sender))
        sender.fd = fd
        sender.srtp = <void *>srtp
        sender.size = <int>PyBytes_GET_SIZE(packet)
        memcpy(sender.packet, PyBytes_AS_STRING(packet), sender.size)
        sender.start = start
        sender.video = video
        sender.burst = burst
        sender.picture = picture
        sender.step = step
        sender.distance_ns = distance_ns
        sender.due_ns = read_clock(CLOCK_MONOTONIC) + offset_ns
        sender.sequence = 1000
        sender.timestamp = 100000
        sender.key_wanted = True
        self.sender_count += 1
        return self.sender_count - 1

    def want_key_frame(self, int sender):
        if not 0 <= sender < self.sender_count:
            raise IndexError("sender")
        self.senders[sender].key_wanted = True

    def clock(self, int sender):
        """Return (timestamp, packets) of a sender, for its reports."""
        if not 0 <= sender < self.sender_count:
            raise IndexError("sender")
        return self.senders[sender].timestamp, self.senders[sender].sent

    def heard(self, int receiver):
        """Return (SSRC, sequence number, packets so far) of what a receiver got last."""
        if not 0 <= receiver < self.receiver_count:
            raise IndexError("receiver")
        return (
            self.receivers[receiver].ssrc,
            self.receivers[receiver].sequence,
            self.receivers[receiver].received,
        )

    def reset(self):
        """Count from here on."""
        self.received = self.refused = self.sent = self.late = 0
        memset(self.delays, 0, DELAYS * sizeof(uint32_t))

    def percentile(self, double percent):
        """Return the delay in us that so many per cent of the packets did not exceed."""
        cdef int64_t total = 0, seen = 0
        cdef int i
        for i in range(DELAYS):
            total += self.delays[i]
        for i in range(DELAYS):
            seen += self.delays[i]
            if seen and seen * 100.0 >= total * percent:
                return i
        raise ValueError("no packets")

    def turn(self, double seconds):
        """Send and receive for that long."""
        cdef int64_t end = read_clock(CLOCK_MONOTONIC) + <int64_t>(seconds * 1e9)
        with nogil:
            self.loop(end)

    cdef void loop(self, int64_t end) noexcept nogil:
        cdef int64_t now = read_clock(CLOCK_MONOTONIC), sweep = now, wake
        cdef timespec until
        cdef int i
        cdef Sender *sender
        while now < end:
            wake = end
            for i in range(self.sender_count):
                sender = &self.senders[i]
                if sender.due_ns <= now:
                    if self.sending:
                        self.send_burst(sender)
                    if now - sender.due_ns > sender.distance_ns:
                        self.late += 1
                    # What could not leave in time leaves late, unless the machine stood still.
                    if now - sender.due_ns > CATCH_UP_NS:
                        sender.due_ns = now
                    sender.due_ns += sender.distance_ns
                wake = min(wake, sender.due_ns)
            now = read_clock(CLOCK_MONOTONIC)
            if sweep <= now:
                for i in range(self.receiver_count):
                    self.drain(&self.receivers[i])
                sweep = now + self.sweep_ns
            wake = min(wake, sweep)
            until.tv_sec = wake // 1000000000
            until.tv_nsec = wake % 1000000000
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL)
            now = read_clock(CLOCK_MONOTONIC)

    cdef void send_burst(self, Sender *sender) noexcept nogil:
        cdef uint8_t data[PACKET_BYTES]
        cdef int i, size, place
        cdef bint first, last
        for i in range(sender.burst):
            place = sender.sent % sender.picture
            first, last = place == 0, place == sender.picture - 1
            if first:
                sender.key = sender.key_wanted
                sender.key_wanted = False
            size = sender.size
            memcpy(data, sender.packet, size)
            write_bytes(data + 2, sender.sequence, 2)
            write_bytes(data + 4, sender.timestamp, 4)
            if sender.video:
                if last:
                    data[1] |= 0x80
                self.describe(data + sender.start, first, sender.key)
            write_bytes(data + size - 8, read_clock(CLOCK_REALTIME), 8)
            if self.protect(sender.srtp, data, &size) == 0:
                send(sender.fd, data, size, MSG_DONTWAIT)
            sender.sequence += 1
            sender.sent += 1
            self.sent += 1
            if last:
                sender.timestamp += sender.step

    cdef void describe(self, uint8_t *payload, bint first, bint key) noexcept nogil:
        """Write the VP8 payload descriptor (RFC 7741), with a frame header in a picture's first."""
        memset(payload, 0, 10)
        if not first:
            return
        payload[0] = 0x10  # S
        payload[1] = 0x10 if key else 0x01  # P: a picture that needs the one before
        if key:
            write_bytes(payload + 4, 0x9D012A, 3)
            write_bytes(payload + 7, 0x8002, 2)  # 640, little-endian
            payload[9] = 0x68

    cdef void drain(self, Receiver *receiver) noexcept nogil:
        cdef int i, count
        cdef int64_t arrival, delay
        cdef uint8_t *data
        cdef int size
        cdef cmsghdr *header
        cdef timespec *stamp
        while True:
            for i in range(BATCH):
                self.messages[i].msg_hdr.msg_controllen = CONTROL_BYTES
            count = recvmmsg(receiver.fd, self.messages, BATCH, MSG_DONTWAIT, NULL)
            for i in range(count):
                data = self.data + i * READ_BYTES
                size = <int>self.messages[i].msg_len
                # RFC 7983: 128 to 191 is RTP or RTCP; RFC 5761: RTCP has 192 to 223 next.
                if size < 12 or data[0] >> 6 != 2 or 192 <= data[1] <= 223:
                    continue
                if self.unprotect(receiver.srtp, data, &size) != 0:
                    self.refused += 1
                    continue
                header = CMSG_FIRSTHDR(&self.messages[i].msg_hdr)
                if (
                    header != NULL
                    and header.cmsg_level == SOL_SOCKET
                    and header.cmsg_type == SO_TIMESTAMPNS
                ):
                    stamp = <timespec *>CMSG_DATA(header)
                    arrival = <int64_t>stamp.tv_sec * 1000000000 + stamp.tv_nsec
                else:
                    arrival = read_clock(CLOCK_REALTIME)
                delay = (arrival - read_bytes(data + size - 8, 8)) // 1000
                self.delays[max(0, min(delay, DELAYS - 1))] += 1
                self.received += 1
                receiver.received += 1
                receiver.ssrc = <uint32_t>read_bytes(data + 8, 4)
                receiver.sequence = <uint16_t>read_bytes(data + 2, 2)
            if count < BATCH:
                return
