from sfu.rtp import Header

def read_header(packet: bytes) -> Header: ...
def find_element(packet: bytes, header: Header, identifier: int) -> bytes | None: ...
def find_transport_sequence(packet: bytes, header: Header, identifier: int) -> int: ...
def normalise(
    packet: bytes,
    header: Header,
    identifiers: bytes,
    payload_type: int,
    sequence: int,
    timestamp: int,
    send_time_id: int,
    send_time: int,
    transport_id: int = 0,
) -> bytes: ...
def patch(
    template: bytes, ssrc: int, sequence: int, timestamp: int, transport_sequence: int = -1
) -> bytes: ...
