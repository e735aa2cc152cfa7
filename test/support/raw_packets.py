"""What a pod may send that no socket of its would: `send` in the pod's network namespace, `watch` where the metadata service
is. The watcher prints each packet for the service that arrives and ends with the one that is sent last."""

import socket
import struct
import sys

METADATA, POD, NODE, WORLD = "169.254.169.254", "198.18.1.2", "198.18.0.1", "198.18.0.10"
LAST_PORT = 9
RESET = 0x04


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def ip(source, destination, protocol, payload, fragment=0, options=b"", identification=7):
    words = 5 + len(options) // 4
    header = struct.pack(
        "!BBHHHBBH4s4s",
        0x40 | words, 0, words * 4 + len(payload), identification, fragment, 64, protocol, 0,
        socket.inet_aton(source), socket.inet_aton(destination),
    ) + options
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def tcp(source, destination, port, to_port=80, flags=0x02):
    header = struct.pack("!HHLLBBHHH", port, to_port, 1, 0, 0x50, flags, 65535, 0, 0)
    pseudo = socket.inet_aton(source) + socket.inet_aton(destination) + struct.pack("!BBH", 0, 6, len(header))
    return header[:16] + struct.pack("!H", checksum(pseudo + header)) + header[18:]


def route_option(kind):
    return struct.pack("!BBB4sB", kind, 7, 4, socket.inet_aton(METADATA), 0)


def packets():
    """Pairs of a packet and where the kernel is to send it."""
    datagram = struct.pack("!HHHH", 1000, 80, 8, 0)
    echo = struct.pack("!BBHHH", 8, 0, checksum(struct.pack("!BBHHH", 8, 0, 0, 1, 1)), 1, 1)
    for protocol, payload in ((17, datagram), (1, echo), (132, bytes(12)), (47, bytes(12)), (255, bytes(12))):
        yield ip(POD, METADATA, protocol, payload), METADATA
    for number, to_port in ((9, 80), (10, 8080)):
        whole = tcp(POD, METADATA, 1000 + number, to_port)
        # The second fragment has no ports, and comes first the second time.
        first = ip(POD, METADATA, 6, whole[:8], 0x2000, identification=number)
        second = ip(POD, METADATA, 6, whole[8:], 1, identification=number)
        yield from ((first, METADATA), (second, METADATA))
        yield from ((ip(POD, METADATA, 6, whole[8:], 1, identification=number + 10), METADATA), (first, METADATA))
    for flags in (0x00, 0x01, 0x10, 0x12, 0x29):
        yield ip(POD, METADATA, 6, tcp(POD, METADATA, 1020, 80, flags)), METADATA
    for source in (NODE, "127.0.0.1", METADATA, "198.18.1.77", WORLD, "0.0.0.0"):
        yield ip(source, METADATA, 6, tcp(source, METADATA, 1021)), METADATA
    # Loose and strict source routes through the node (RFC 791), and packets in packets for it.
    for kind in (131, 137):
        for via in (NODE, "169.254.1.1"):
            yield ip(POD, via, 6, tcp(POD, METADATA, 1022), options=route_option(kind)), via
    inner = ip(POD, METADATA, 6, tcp(POD, METADATA, 1023))
    for protocol, payload in ((4, inner), (47, b"\0\0\x08\0" + inner), (41, inner)):
        yield ip(POD, NODE, protocol, payload), NODE


def send():
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    count = 0
    for packet, to in packets():
        raw.sendto(packet, (to, 0))
        count += 1
    last = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    last.sendto(b"", (WORLD, LAST_PORT))
    print(count)


def watch():
    link = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    print("ready", flush=True)
    while True:
        data, address = link.recvfrom(65535)
        if address[0] != "eth0" or address[2] == socket.PACKET_OUTGOING:
            continue
        start, protocol = (data[0] & 15) * 4, data[9]
        source, destination = socket.inet_ntoa(data[12:16]), socket.inet_ntoa(data[16:20])
        if destination == WORLD and protocol == 17 and data[start + 2 : start + 4] == struct.pack("!H", LAST_PORT):
            return
        # A refusal goes back to whatever address the pod gave as its own, and opens nothing.
        is_reset = protocol == 6 and len(data) > start + 13 and data[start + 13] & RESET
        if destination == METADATA and not is_reset:
            print(f"{source} protocol {protocol} {data[start:].hex()}", flush=True)


{"send": send, "watch": watch}[sys.argv[1]]()
