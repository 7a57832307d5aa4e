# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The compiled twin of `sfu.arrivals_pure`: one recvmmsg(2) for a batch."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free

from sfu.ice import Path

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <sys/types.h>
    #include <sys/socket.h>
    #include <netinet/in.h>
    #include <arpa/inet.h>
    """
    enum: AF_INET, AF_INET6, MSG_DONTWAIT, INET6_ADDRSTRLEN
    ctypedef unsigned int socklen_t
    struct in_addr:
        pass
    struct in6_addr:
        pass
    struct sockaddr:
        unsigned short sa_family
    struct sockaddr_in:
        uint16_t sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        uint16_t sin6_port
        uint32_t sin6_flowinfo
        in6_addr sin6_addr
        uint32_t sin6_scope_id
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        void *msg_name
        socklen_t msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    uint16_t ntohs(uint16_t value) nogil
    uint32_t ntohl(uint32_t value) nogil
    const char *inet_ntop(int family, const void *address, char *text, socklen_t size) nogil
    int recvmmsg(int fd, mmsghdr *messages, unsigned int count, int flags, void *timeout) nogil

cdef enum:
    BATCH = 64  # as `arrivals_pure` has them
    READ_BYTES = 2049
    # Addresses remembered: more than any one process serves; a flood of made-up ones starts anew.
    KNOWN = 4096


cdef union Address:
    sockaddr any
    sockaddr_in v4
    sockaddr_in6 v6


cdef struct Slot:
    Address address
    iovec part
    uint8_t data[READ_BYTES]


cdef class Arrivals:
    cdef object sock  # its descriptor is asked for each time: -1 once it is closed
    cdef int number
    cdef dict paths  # by the bytes of the address
    cdef Slot *slots
    cdef mmsghdr *messages

    def __cinit__(self, sock not None, int number):
        cdef int i
        self.sock = sock
        self.number = number
        self.paths = {}
        self.slots = <Slot *>calloc(BATCH, sizeof(Slot))
        self.messages = <mmsghdr *>calloc(BATCH, sizeof(mmsghdr))
        if self.slots == NULL or self.messages == NULL:
            raise MemoryError
        for i in range(BATCH):
            self.slots[i].part.iov_base = self.slots[i].data
            self.slots[i].part.iov_len = READ_BYTES
            self.messages[i].msg_hdr.msg_name = &self.slots[i].address
            self.messages[i].msg_hdr.msg_iov = &self.slots[i].part
            self.messages[i].msg_hdr.msg_iovlen = 1

    def __dealloc__(self):
        free(self.slots)
        free(self.messages)

    def read(self):
        cdef int fd = self.sock.fileno(), i, count = -1, tries = BATCH
        cdef list datagrams = []
        with nogil:
            for i in range(BATCH):
                self.messages[i].msg_hdr.msg_namelen = sizeof(Address)
            while count < 0 and tries > 0:
                # What fails is an ICMP error of an earlier send (RFC 1122 section 4.1.3.3).
                count = recvmmsg(fd, self.messages, BATCH, MSG_DONTWAIT, NULL)
                tries = 0 if count < 0 and errno == EAGAIN else tries - 1
        for i in range(count):
            datagrams.append((
                PyBytes_FromStringAndSize(
                    <const char *>self.slots[i].data, self.messages[i].msg_len
                ),
                self.path(&self.slots[i].address, self.messages[i].msg_hdr.msg_namelen),
            ))
        return datagrams

    cdef object path(self, Address *address, socklen_t length):
        cdef bytes key = PyBytes_FromStringAndSize(<const char *>address, length)
        path = self.paths.get(key)
        if path is None:
            path = Path(self.number, name(address))
            if len(self.paths) >= KNOWN:
                self.paths.clear()
            self.paths[key] = path
        return path


cdef tuple name(Address *address):
    """Return the address as the socket module writes it."""
    cdef char text[INET6_ADDRSTRLEN]
    if address.any.sa_family == AF_INET6:
        inet_ntop(AF_INET6, &address.v6.sin6_addr, text, sizeof(text))
        return (
            text.decode(),
            ntohs(address.v6.sin6_port),
            ntohl(address.v6.sin6_flowinfo),
            address.v6.sin6_scope_id,
        )
    inet_ntop(AF_INET, &address.v4.sin_addr, text, sizeof(text))
    return text.decode(), ntohs(address.v4.sin_port)
