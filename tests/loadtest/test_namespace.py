import socket

from loadtest.namespace import namespace


def test_sockets_made_inside_hear_the_server_side():
    with namespace() as network:
        with network.entered():
            inside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            inside.bind((network.client_host, 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outside, inside:
            outside.bind((network.server_host, 0))
            inside.settimeout(10)
            outside.sendto(b"x", inside.getsockname())
            assert inside.recvfrom(8) == (b"x", outside.getsockname())
