#!/usr/bin/env python3
"""Makes log.txt: a small log built from FORMAT.md alone, sharing no code with the crate (standard library only).

Usage: python3 make.py > log.txt
The crate must read it, verify it, and produce the same bytes from the same inputs (tests/golden.rs, src/golden.rs).
Lines: "file NAME LENGTH", then "OFFSET HEX" for every 32 bytes that are not all zero.
"""

import base64
import hashlib
import hmac
import struct

ORIGIN, BUILD = "log.example/audit", "golden 1"
SEED, RANDOM, K0 = bytes([0x42]) * 32, bytes([7]) * 32, bytes([1]) * 32
RUN, BOOT, CAPACITY = 0x1122334455667788, bytes(range(16)), 270336
P, D = 2**255 - 19, -121665 * pow(121666, 2**255 - 21, 2**255 - 19) % (2**255 - 19)
ORDER = 2**252 + 27742317777372353535851937790883648493


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def add(p, q):
    """Adds two points in extended coordinates (RFC 8032, 5.1.4)."""
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(scalar, point):
    result = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return result


def base_point():
    y = 4 * pow(5, P - 2, P) % P
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    x = P - x if x & 1 else x
    return x, y, 1, x * y % P


BASE = base_point()


def compress(p):
    z = pow(p[2], P - 2, P)
    return (p[1] * z % P | (p[0] * z % P & 1) << 255).to_bytes(32, "little")


def expand(seed):
    h = hashlib.sha512(seed).digest()
    a = int.from_bytes(h[:32], "little") & ((1 << 254) - 8) | 1 << 254
    return a, h[32:]


PUBLIC = compress(multiply(expand(SEED)[0], BASE))
KEY_ID = sha256(ORIGIN.encode(), b"\n\x01", PUBLIC)[:4]
VERIFIER_KEY = f"{ORIGIN}+{KEY_ID.hex()}+{base64.b64encode(bytes([1]) + PUBLIC).decode()}"


def sign(message):
    a, prefix = expand(SEED)
    r = int.from_bytes(hashlib.sha512(prefix + message).digest(), "little") % ORDER
    big_r = compress(multiply(r, BASE))
    k = int.from_bytes(hashlib.sha512(big_r + PUBLIC + message).digest(), "little") % ORDER
    return big_r + ((r + k * a) % ORDER).to_bytes(32, "little")


def note(text):
    signature = base64.b64encode(KEY_ID + sign(text.encode())).decode()
    return f"{text}\n\u2014 {ORIGIN} {signature}\n".encode()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return struct.pack("<I", crc ^ 0xFFFFFFFF)


def frame(magic, body):
    head = magic + struct.pack("<I", len(body))
    whole = head + crc32c(head) + bytes(4) + body + crc32c(body)
    return whole + bytes(-len(whole) % 8)


class Log:
    def __init__(self):
        self.id = sha256(b"sealfeed/v1 log\n", ORIGIN.encode(), b"\n", RANDOM)
        self.prev = sha256(b"sealfeed/v1 genesis\n", self.id)
        self.leaves, self.group, self.epoch, self.key = [], 0, 0, K0
        self.files, self.segment, self.number, self.checkpoints = {}, b"", -1, b""

    def root(self, leaves):
        if not leaves:
            return sha256(b"")
        if len(leaves) == 1:
            return leaves[0]
        k = 1 << (len(leaves) - 1).bit_length() - 1
        return sha256(b"\x01", self.root(leaves[:k]), self.root(leaves[k:]))

    def frontier(self):
        parts, at = [], 0
        for bit in reversed(range(64)):
            if len(self.leaves) >> bit & 1:
                parts.append(self.root(self.leaves[at : at + (1 << bit)]))
                at += 1 << bit
        return parts

    def begin_segment(self):
        self.number, self.first = self.number + 1, len(self.leaves)
        frontier = self.frontier()
        h = bytearray(4096)
        struct.pack_into("<8sII32sQQ32sQQQQQI", h, 0, b"sealfeed", 1, 4096, self.id, self.number, self.first, self.prev,
                         self.group, self.epoch, RUN, 1700000000000000000, CAPACITY, 131072)
        struct.pack_into("<HHH6x16s32s", h, 140, len(ORIGIN), len(BUILD), len(frontier), BOOT, PUBLIC)
        h[256 : 256 + len(ORIGIN)] = ORIGIN.encode()
        h[512 : 512 + len(BUILD)] = BUILD.encode()
        h[1024 : 1024 + 32 * len(frontier)] = b"".join(frontier)
        h[4028:4032] = crc32c(h[:4028])
        h[4032:] = sign(b"sealfeed/v1 segment\n" + bytes(h[:4032]))
        self.segment = bytes(h)

    def write_group(self, *drafts):
        for index, (kind, payload, session, order) in enumerate(drafts):
            seq = len(self.leaves)
            flags = (index == len(drafts) - 1) | (session is not None) << 1 | (order is not None) << 2
            e = struct.pack("<BBHHBBQ32sQQQQQII", 1, flags, kind, 1 if kind > 255 else 0, 1, 0, seq, self.prev,
                            1700000000000000000 + seq, 1000 + seq, self.epoch, self.group, RUN, 250, len(payload))
            e += struct.pack("<32sQ", *session) if session else b""
            e += struct.pack("<QQQ", *order) if order else b""
            e += payload
            self.prev = sha256(b"\x00", e)
            self.leaves.append(self.prev)
            self.segment += frame(b"SFE1", e)
        mac = hmac.new(self.key, digestmod=hashlib.sha256)
        mac.update(b"sealfeed/v1 seal\n" + self.id + struct.pack("<QQ", self.epoch, len(self.leaves) - 1) + self.prev)
        self.segment += frame(b"SFG1", mac.digest())
        self.group += 1
        if drafts[-1][0] == 5:
            self.epoch, self.key = self.epoch + 1, sha256(b"sealfeed/v1 evolve\n", self.key)

    def checkpoint(self):
        root = base64.b64encode(self.root(self.leaves)).decode()
        self.checkpoints += note(f"{ORIGIN}\n{len(self.leaves)}\n{root}\n") + b"\n"

    def close_segment(self):
        text = (f"sealfeed/v1 seal\nlog {self.id.hex()}\nsegment {self.number}\nfirst {self.first}\nend {len(self.leaves)}\n"
                f"used {len(self.segment)}\nfile {len(self.segment)}\nsha256 {sha256(self.segment).hex()}\nreason rotated\n")
        self.files[f"segments/{self.first:020}.seal"] = note(text)
        self.files[f"segments/{self.first:020}.seg"] = self.segment


def main():
    log = Log()
    lines = ["sealfeed/v1 genesis", f"origin {ORIGIN}", f"log {log.id.hex()}", f"random {RANDOM.hex()}", f"key {VERIFIER_KEY}",
             f"format {bytes(32).hex()}", f"build {BUILD}", f"configuration {bytes(32).hex()}",
             f"escrow {sha256(b'sealfeed/v1 escrow' + bytes([10]), K0).hex()}"]
    start = f"sealfeed/v1 start\nbuild {BUILD}\nconfiguration {bytes(32).hex()}\nboot {BOOT.hex()}\nprevious-run stopped\n"
    log.begin_segment()
    log.write_group((1, "".join(line + "\n" for line in lines).encode(), None, None))
    log.checkpoint()
    log.write_group((2, start.encode(), None, None), (300, b"first", (bytes([9]) * 32, 1), None))
    log.write_group((301, b"order", (bytes([9]) * 32, 2), (77, 0, 1)), (302, bytes(range(256)), None, (77, 3, 2)), (5, b"", None, None))
    log.checkpoint()
    log.close_segment()
    log.begin_segment()
    log.write_group((4, b"", None, None))
    log.write_group((3, b"", None, None))
    log.checkpoint()
    log.files[f"segments/{log.first:020}.seg"] = log.segment + bytes(256)
    log.files["checkpoints"] = log.checkpoints
    log.files["state"] = f"sealfeed/v1 state\nwriter closed\nsize {len(log.leaves)}\n".encode()
    print(f"key {VERIFIER_KEY}\nlog {log.id.hex()}\nsize {len(log.leaves)}\nroot {log.root(log.leaves).hex()}")
    for name, content in sorted(log.files.items()):
        print(f"file {name} {len(content)}")
        for at in range(0, len(content), 32):
            if any(content[at : at + 32]):
                print(f"{at} {content[at : at + 32].hex()}")


main()
