#!/usr/bin/env python3
"""Checks the golden vectors with nothing but the Python standard library.

Recomputes every order key (HKDF-SHA256), MAC (HMAC-SHA256), checksum (CRC-32) and book, and verifies every signature
(Ed25519, ECDSA P-256), so that the vectors stand on their own and not on the program they test. Prints one line a file; exits 1 at the first difference.
"""

import base64
import hashlib
import hmac
import json
import pathlib
import re
import sys
import zlib
from decimal import Decimal

HERE = pathlib.Path(__file__).resolve().parent
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]{1,9})?", re.ASCII)
CODE = re.compile(r"SF-(TLS|SES|SUB|ORD|RSK|PUB|AUD|CFG|CLU)-[0-9]{3}")


def load(name):
    return json.loads((HERE / name).read_text(encoding="utf-8"))


def expect(actual, expected, what):
    if actual != expected:
        sys.exit(f"{what}: got {actual!r}, expected {expected!r}")


def hmac_sha256(key, message):
    return hmac.new(key, message, hashlib.sha256).digest()


def order_keys():
    cases = load("order_key.json")["cases"]
    for case in cases:
        certificate = hashlib.sha256(bytes.fromhex(case["certificate_der"])).digest()
        expect(certificate.hex(), case["certificate_sha256"], case["name"])
        # HKDF, RFC 5869: extract with an empty salt, then one block of expand.
        prk = hmac_sha256(bytes(32), bytes.fromhex(case["master"]))
        key = hmac_sha256(prk, b"sealfeed order key v1" + certificate + b"\x01")
        expect(key.hex(), case["order_key"], case["name"])
    return len(cases)


def signing():
    cases = load("signing.json")["cases"]
    for case in cases:
        lines = ["sealfeed-v1", case["session"], case["ts"], case["nonce"], case["op"], case["body"]]
        text = "\n".join(lines)
        expect(text, case["signing_string"], case["name"])
        mac = hmac_sha256(bytes.fromhex(case["order_key"]), text.encode("utf-8")).hex()
        expect(mac, case["mac"], case["name"])
        frame = json.loads(case["frame"])
        sent = {name: frame[name] for name in ("op", "ts", "nonce", "mac")}
        expect(sent, {name: case[name] for name in sent}, case["name"])
        expect(case["frame"].endswith('"body":' + case["body"] + "}"), True, case["name"])
    return len(cases)


def ed25519_verifies(public, message, signature):
    """RFC 8032, section 5.1.7, with the check of its section 8.4 (S below the order of the group)."""
    p, order = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
    d = -121665 * pow(121666, -1, p) % p

    def decompress(text):
        y, sign = int.from_bytes(text, "little") & (2**255 - 1), text[31] >> 7
        x2 = (y * y - 1) * pow(d * y * y + 1, -1, p) % p
        x = pow(x2, (p + 3) // 8, p)
        if (x * x - x2) % p:
            x = x * pow(2, (p - 1) // 4, p) % p
        if y >= p or (x * x - x2) % p or (x == 0 and sign):
            return None
        return (p - x if x & 1 != sign else x), y

    def add(a, b):
        product = d * a[0] * b[0] * a[1] * b[1] % p
        x = (a[0] * b[1] + a[1] * b[0]) * pow(1 + product, -1, p) % p
        return x, (a[1] * b[1] + a[0] * b[0]) * pow(1 - product, -1, p) % p

    base = decompress((4 * pow(5, -1, p) % p).to_bytes(32, "little"))
    key, r, s = decompress(public), decompress(signature[:32]), int.from_bytes(signature[32:], "little")
    if key is None or r is None or s >= order:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % order
    return times(add, (0, 1), base, s) == add(r, times(add, (0, 1), key, h))


def p256_verifies(public, message, signature):
    """FIPS 186-5, section 6.4.2, on P-256 with SHA-256; the signature is r then s."""
    p = 2**256 - 2**224 + 2**192 + 2**96 - 1
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    base = (
        0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
        0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
    )

    def add(a, b):
        if a is None or b is None:
            return b if a is None else a
        if a[0] == b[0] and (a[1] + b[1]) % p == 0:
            return None
        if a == b:
            slope = (3 * a[0] * a[0] - 3) * pow(2 * a[1], -1, p)
        else:
            slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, p)
        x = (slope * slope - a[0] - b[0]) % p
        return x, (slope * (a[0] - x) - a[1]) % p

    key = int.from_bytes(public[1:33], "big"), int.from_bytes(public[33:], "big")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if public[0] != 4 or not 0 < r < order or not 0 < s < order:
        return False
    inverse, digest = pow(s, -1, order), int.from_bytes(hashlib.sha256(message).digest(), "big")
    point = add(times(add, None, base, digest * inverse % order), times(add, None, key, r * inverse % order))
    return point is not None and point[0] % order == r


def times(add, neutral, point, factor):
    """factor * point, by doubling."""
    result = neutral
    while factor:
        if factor & 1:
            result = add(result, point)
        point, factor = add(point, point), factor >> 1
    return result


def signature_verifies(case):
    lines = ["sealfeed-v1", case["session"], case["ts"], case["nonce"], case["op"], case["body"]]
    verifies = {"ed25519": ed25519_verifies, "ecdsa-p256-sha256": p256_verifies}[case["algorithm"]]
    signature = base64.urlsafe_b64decode(case["sig"] + "==")
    expect(len(signature), 64, case["name"])
    return verifies(bytes.fromhex(case["public_key"]), "\n".join(lines).encode("utf-8"), signature)


def signatures():
    vector = load("signature.json")
    for case in vector["cases"]:
        expect(signature_verifies(case), True, case["name"])
        frame = json.loads(case["frame"])
        sent = {name: frame[name] for name in ("op", "ts", "nonce", "sig")}
        expect(sent, {name: case[name] for name in sent}, case["name"])
        expect(frame.get("mac"), case.get("mac"), case["name"])
        if "mac" in case:
            key, text = bytes.fromhex(case["order_key"]), case["signing_string"].encode("utf-8")
            expect(hmac_sha256(key, text).hex(), case["mac"], case["name"])
        expect(case["frame"].endswith('"body":' + case["body"] + "}"), True, case["name"])
    for case in vector["refused"]:
        expect(signature_verifies(case), False, case["name"])
    return len(vector["cases"]) + len(vector["refused"])


def digits(text):
    sign = "-" if text.startswith("-") else ""
    return sign + text.removeprefix("-").replace(".", "").lstrip("0")


def checksum_text(bids, asks):
    return "".join(digits(price) + digits(qty) for price, qty, _ in asks[:10] + bids[:10])


def checksums():
    cases = load("checksums.json")["cases"]
    for case in cases:
        text = checksum_text(case["bids"], case["asks"])
        expect(text, case["text"], case["name"])
        expect(zlib.crc32(text.encode()), case["crc32"], case["name"])
    return len(cases)


def apply(side, levels, best_first, depth):
    """Applies the levels of one frame to a side, then cuts it to the depth."""
    for price, qty, orders in levels:
        if Decimal(qty) == 0:
            side.pop(price, None)
        else:
            side[price] = [price, qty, orders]
    kept = sorted(side.values(), key=lambda level: Decimal(level[0]), reverse=best_first)[:depth]
    return {level[0]: level for level in kept}


def book():
    vector = load("book.json")
    bids, asks, seq = {}, {}, None
    for number, step in enumerate(vector["steps"]):
        frame, what = json.loads(step["frame"]), f"book step {number}"
        if frame["type"] == "snapshot":
            bids, asks = {}, {}
        expect(frame["prev_seq"], None if frame["type"] == "snapshot" else seq, what)
        seq = frame["seq"]
        bids = apply(bids, frame["bids"], True, vector["depth"])
        asks = apply(asks, frame["asks"], False, vector["depth"])
        expect(list(bids.values()), step["bids"], what)
        expect(list(asks.values()), step["asks"], what)
        if "checksum" in frame:
            text = checksum_text(list(bids.values()), list(asks.values()))
            expect(zlib.crc32(text.encode()), frame["checksum"], what)
    return len(vector["steps"])


def is_number(text):
    negative_zero = text.startswith("-") and Decimal(text) == 0 if NUMBER.fullmatch(text) else False
    return bool(NUMBER.fullmatch(text)) and not negative_zero


def decimals():
    vector = load("decimals.json")
    accepted = vector["accepted"] + vector["accepted_price"] + vector["accepted_quantity"]
    for case in accepted:
        expect(is_number(case["text"]), True, case["text"])
        expect(int(Decimal(case["text"]).scaleb(9)), int(case["nanos"]), case["text"])
    for text in vector["refused"]:
        fits = is_number(text) and abs(Decimal(text).scaleb(9)) < 2**64
        expect(fits, False, text)
    return len(accepted) + len(vector["refused"])


def requests():
    vector = load("requests.json")
    for case in vector["accepted"]:
        expect(isinstance(json.loads(case["frame"]), dict), True, case["name"])
    refused = vector["refused"] + vector["refused_bodies"]
    for case in refused:
        expect(bool(CODE.fullmatch(case["code"])), True, case["name"])
    return len(vector["accepted"]) + len(refused)


def messages():
    vector = load("messages.json")
    for case in vector["messages"] + vector["open"]:
        frame = json.loads(case["text"])
        if "code" not in frame or "type" in frame:
            expect(isinstance(frame["type"], str), True, case["name"])
        if "code" in frame:
            expect(bool(CODE.fullmatch(frame["code"])), True, case["name"])
            expect(isinstance(frame.get("retryable", False), bool), True, case["name"])
    return len(vector["messages"]) + len(vector["open"])


def main():
    for check in (order_keys, signing, signatures, checksums, book, decimals, requests, messages):
        print(f"{check.__name__}: {check()} vectors hold")


if __name__ == "__main__":
    main()
