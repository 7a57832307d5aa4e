# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The compiled twin of `loadtest.audience_pure`: the same loop with epoll and recv, without the GIL.

Sockets are borrowed by number: the caller keeps them open while the audience is in use.
"""

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr, memcmp, memcpy, memset

from loadtest.wire_count import DELAY_STEP_US, DELAY_STEPS, Run, StalledError

cdef extern from "time.h" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int clock_gettime(int, timespec *)
    enum: CLOCK_MONOTONIC

cdef extern from "sys/socket.h" nogil:
    ssize_t recv(int, void *, size_t, int)
    ssize_t send(int, const void *, size_t, int)
    enum: MSG_DONTWAIT, MSG_NOSIGNAL

cdef extern from "sys/epoll.h" nogil:
    ctypedef union epoll_data_t:
        int fd
        uint64_t u64
    struct epoll_event:
        unsigned int events
        epoll_data_t data
    int epoll_create1(int)
    int epoll_ctl(int, int, int, epoll_event *)
    int epoll_wait(int, epoll_event *, int, int)
    enum: EPOLLIN, EPOLL_CTL_ADD, EPOLL_CLOEXEC

cdef extern from "unistd.h" nogil:
    int close_descriptor "close"(int)

cdef enum:
    READ_BYTES = 1 << 18
    EVENTS = 1024
    HEAD_BYTES = 128
    RING = 1 << 16  # send times of one room that are still waited for
    STALL_MS = 10000
    CLOSED = -1
    LOST = -2
    EXTRA = -3

cdef struct Member:
    int fd
    int room
    int head_bytes
    uint64_t skip
    uint64_t count
    uint8_t *frame
    size_t frame_bytes
    uint8_t head[HEAD_BYTES]

cdef struct Room:
    int size
    int *members
    bint heard
    uint64_t sent
    uint64_t delivered
    int64_t *sent_at


cdef inline int64_t now_ns() noexcept nogil:
    cdef timespec at
    clock_gettime(CLOCK_MONOTONIC, &at)
    return <int64_t>at.tv_sec * 1000000000 + at.tv_nsec


cdef class Audience:
    cdef Member *members
    cdef Room *rooms
    cdef int *heard
    cdef int member_count, room_count, heard_count, epoll, speakers, at, mark_bytes, step_us
    cdef bint nats, counting, idle
    cdef uint8_t *buffer
    cdef uint8_t *scratch
    cdef size_t scratch_bytes
    cdef epoll_event *events
    cdef bytes mark
    cdef object kept
    cdef const uint8_t *mark_at
    cdef uint64_t sent, delivered
    cdef int64_t missing
    cdef uint64_t *delays
    cdef int delay_steps

    def __cinit__(self, wire, sockets, rooms, frames, int speakers):
        cdef int number, place, i
        cdef epoll_event event
        cdef bytes frame
        self.epoll = -1
        self.member_count, self.room_count = len(sockets), len(rooms)
        self.members = <Member *>calloc(self.member_count, sizeof(Member))
        self.rooms = <Room *>calloc(self.room_count, sizeof(Room))
        self.heard = <int *>calloc(self.room_count, sizeof(int))
        self.events = <epoll_event *>calloc(EVENTS, sizeof(epoll_event))
        self.buffer = <uint8_t *>malloc(READ_BYTES)
        self.delay_steps, self.step_us = DELAY_STEPS, DELAY_STEP_US
        self.delays = <uint64_t *>calloc(self.delay_steps, sizeof(uint64_t))
        self.kept = list(frames)
        self.nats = wire.kind == "nats"
        self.mark, self.at = wire.mark, wire.at
        self.mark_at, self.mark_bytes = self.mark, len(wire.mark)
        if self.at + self.mark_bytes + 10 > HEAD_BYTES:
            raise ValueError("the mark is too far in the frame")
        self.speakers = speakers
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        for place in range(self.member_count):
            self.members[place].fd = sockets[place].fileno()
            frame = self.kept[place]
            self.members[place].frame = frame
            self.members[place].frame_bytes = len(frame)
            self.scratch_bytes = max(self.scratch_bytes, <size_t>len(frame))
            event.events, event.data.u64 = EPOLLIN, place
            if epoll_ctl(self.epoll, EPOLL_CTL_ADD, self.members[place].fd, &event):
                raise OSError(errno, "epoll_ctl")
        self.scratch_bytes *= 1024
        self.scratch = <uint8_t *>malloc(self.scratch_bytes)
        for number in range(self.room_count):
            self.rooms[number].size = len(rooms[number])
            self.rooms[number].members = <int *>calloc(self.rooms[number].size, sizeof(int))
            self.rooms[number].sent_at = <int64_t *>calloc(RING, sizeof(int64_t))
            for i in range(self.rooms[number].size):
                place = rooms[number][i]
                self.rooms[number].members[i] = place
                self.members[place].room = number

    def __dealloc__(self):
        cdef int number
        if self.rooms != NULL:
            for number in range(self.room_count):
                free(self.rooms[number].members)
                free(self.rooms[number].sent_at)
        free(self.rooms)
        free(self.members)
        free(self.heard)
        free(self.events)
        free(self.buffer)
        free(self.scratch)
        free(self.delays)
        self.close()

    def close(self):
        if self.epoll >= 0:
            close_descriptor(self.epoll)
            self.epoll = -1

    def closed(self, int window, double warm_up_s, double seconds):
        cdef int64_t began, counts_from, ends, now
        cdef int number, i, fault = 0
        cdef Room *room
        self.start_over()
        began = now_ns()
        counts_from = began + <int64_t>(warm_up_s * 1e9)
        ends = counts_from + <int64_t>(seconds * 1e9)
        with nogil:
            for number in range(self.room_count):
                fault = fault or self.say(&self.rooms[number], window)
            now = now_ns()
            while now < ends and not fault:
                self.count_from(now, counts_from)
                fault = self.take(50)
                for i in range(self.heard_count):
                    room = &self.rooms[self.heard[i]]
                    room.heard = False
                    fault = fault or self.say(
                        room, window - <int>(room.sent - room.delivered // room.size)
                    )
                now = now_ns()
        return self.settle(fault, now, counts_from)

    def paced(self, double per_s, double warm_up_s, double seconds):
        cdef int64_t began, counts_from, ends, now, due
        cdef uint64_t said = 0
        cdef int i, fault = 0
        self.start_over()
        began = now_ns()
        counts_from = began + <int64_t>(warm_up_s * 1e9)
        ends = counts_from + <int64_t>(seconds * 1e9)
        with nogil:
            now = began
            while now < ends and not fault:
                self.count_from(now, counts_from)
                while said < (now - began) * 1e-9 * per_s and not fault:
                    fault = self.say(&self.rooms[said % self.room_count], 1)
                    said += 1
                due = began + <int64_t>(said / per_s * 1e9) - now_ns()
                # epoll waits whole milliseconds: the last one is spent looking.
                fault = fault or self.take(0 if due < 1000000 else <int>(due // 1000000))
                for i in range(self.heard_count):
                    self.rooms[self.heard[i]].heard = False
                now = now_ns()
        return self.settle(fault, now, counts_from)

    cdef void start_over(self):
        cdef int i
        for i in range(self.member_count):
            self.members[i].count = 0
        for i in range(self.room_count):
            self.rooms[i].sent = self.rooms[i].delivered = 0
            self.rooms[i].heard = False
        self.sent = self.delivered = 0
        self.missing = 0
        self.heard_count = 0
        self.counting = False
        memset(self.delays, 0, self.delay_steps * sizeof(uint64_t))

    cdef void count_from(self, int64_t now, int64_t counts_from) noexcept nogil:
        if not self.counting and now >= counts_from:
            self.counting = True
            self.sent = self.delivered = 0
            memset(self.delays, 0, self.delay_steps * sizeof(uint64_t))

    cdef int say(self, Room *room, int times) noexcept nogil:
        cdef int64_t now = now_ns()
        cdef Member *member
        cdef size_t size
        cdef int i, at_once
        while times > 0:
            # A room without turns writes a window as one piece, as a busy client would.
            member = &self.members[room.members[room.sent % self.speakers]]
            at_once = times if self.speakers == 1 else 1
            at_once = min(at_once, <int>(self.scratch_bytes // member.frame_bytes))
            size = member.frame_bytes
            for i in range(at_once):
                memcpy(self.scratch + i * size, member.frame, size)
                room.sent_at[(room.sent + i) % RING] = now
            if not self.write(member.fd, self.scratch, at_once * size):
                return CLOSED
            room.sent += at_once
            self.sent += at_once
            self.missing += <int64_t>at_once * room.size
            times -= at_once
        return 0

    cdef bint write(self, int fd, const uint8_t *data, size_t size) noexcept nogil:
        cdef ssize_t done
        while size:
            done = send(fd, data, size, MSG_NOSIGNAL)
            if done < 0:
                if errno == EINTR:
                    continue
                return False
            data += done
            size -= done
        return True

    cdef int take(self, int timeout_ms) noexcept nogil:
        cdef int i, ready, found
        cdef ssize_t size
        cdef Member *member
        cdef Room *room
        self.heard_count = 0
        ready = epoll_wait(self.epoll, self.events, EVENTS, timeout_ms)
        self.idle = ready == 0
        for i in range(ready):
            member = &self.members[self.events[i].data.u64]
            size = recv(member.fd, self.buffer, READ_BYTES, MSG_DONTWAIT)
            if size < 0 and (errno == EAGAIN or errno == EINTR):
                continue
            if size <= 0:
                return CLOSED
            found = self.feed(member, self.buffer, size)
            if found:
                room = &self.rooms[member.room]
                self.note(member, room, found)
                if self.missing < 0:
                    return EXTRA  # the window would grow with every answer
                if not room.heard:
                    room.heard = True
                    self.heard[self.heard_count] = member.room
                    self.heard_count += 1
        return 0

    cdef void note(self, Member *member, Room *room, int found) noexcept nogil:
        cdef int64_t now = now_ns()
        cdef int64_t step
        cdef int i
        for i in range(found):
            step = (now - room.sent_at[member.count % RING]) // 1000 // self.step_us
            if step >= self.delay_steps:
                step = self.delay_steps - 1
            self.delays[step] += 1
            member.count += 1
        room.delivered += found
        self.delivered += found
        self.missing -= found

    cdef object settle(self, int fault, int64_t now, int64_t counts_from):
        cdef int i
        run = Run(
            (now - counts_from) / 1e9, self.sent, self.delivered,
            [self.delays[i] for i in range(self.delay_steps)],
        )
        while self.missing > 0 and not fault:
            with nogil:
                fault = self.take(STALL_MS)
                for i in range(self.heard_count):
                    self.rooms[self.heard[i]].heard = False
            if self.idle and not fault:
                fault = LOST
        if fault == CLOSED:
            raise StalledError("the server closed a connection")
        if fault == EXTRA:
            raise StalledError(f"{-self.missing} deliveries more than were sent")
        if fault == LOST:
            raise StalledError(f"{self.missing} deliveries are missing")
        return run

    cdef int feed(self, Member *member, const uint8_t *data, size_t size) noexcept nogil:
        """Return how many messages began in `data`."""
        cdef int found = 0, is_message = 0
        cdef uint64_t frame_bytes
        while size:
            if member.skip >= size:
                member.skip -= size
                return found
            data += member.skip
            size -= member.skip
            member.skip = 0
            if member.head_bytes:
                # What a read cut off is put together byte by byte; what no peer sends is lost.
                if member.head_bytes == HEAD_BYTES:
                    member.head_bytes = 0
                member.head[member.head_bytes] = data[0]
                member.head_bytes += 1
                data += 1
                size -= 1
                frame_bytes = self.look(member.head, member.head_bytes, &is_message)
                if frame_bytes:
                    found += is_message
                    member.skip = frame_bytes - member.head_bytes
                    member.head_bytes = 0
                continue
            frame_bytes = self.look(data, size, &is_message)
            if frame_bytes:
                found += is_message
                member.skip = frame_bytes
            else:
                member.head_bytes = <int>min(size, <size_t>HEAD_BYTES)
                memcpy(member.head, data, member.head_bytes)
                return found
        return found

    cdef uint64_t look(self, const uint8_t *data, size_t size, int *is_message) noexcept nogil:
        """Return the size of the frame that begins here, 0 while it cannot be told."""
        cdef uint64_t payload
        cdef int start = 2, i, looked_at
        if self.nats:
            return self.look_nats(data, size, is_message)
        if size < 2:
            return 0
        payload = data[1]
        if payload >= 126:
            start += 2 if payload == 126 else 8
            if size < <size_t>start:
                return 0
            payload = 0
            for i in range(2, start):
                payload = payload << 8 | data[i]
        looked_at = self.at + self.mark_bytes
        is_message[0] = payload >= <uint64_t>looked_at
        if not is_message[0]:
            return start + payload
        if size < <size_t>(start + looked_at):
            return 0
        is_message[0] = memcmp(data + start + self.at, self.mark_at, self.mark_bytes) == 0
        return start + payload

    cdef uint64_t look_nats(self, const uint8_t *data, size_t size, int *is_message) noexcept nogil:
        cdef const uint8_t *end = <const uint8_t *>memchr(data, 10, size)
        cdef uint64_t payload = 0, scale = 1
        cdef const uint8_t *digit
        if end == NULL:
            return 0
        is_message[0] = data[0] == 77  # M, of MSG
        if not is_message[0]:
            return end - data + 1
        digit = end - 2
        while digit[0] != 32:
            payload += (digit[0] - 48) * scale
            scale *= 10
            digit -= 1
        return (end - data + 1) + payload + 2
