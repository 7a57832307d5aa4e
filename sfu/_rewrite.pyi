from sfu.rtp import Header

def read_header(packet: bytes) -> Header: ...
def find_element(packet: bytes, header: Header, identifier: int) -> bytes | None: ...
def normalise(
    packet: bytes,
    header: Header,
    identifiers: bytes,
    payload_type: int,
    sequence: int,
    timestamp: int,
    send_time_id: int,
    send_time: int,
) -> bytes: ...
def patch(template: bytes, ssrc: int, sequence: int, timestamp: int) -> bytes: ...
