#!/usr/bin/env python3
"""Checks the golden vectors with nothing but the Python standard library.

Recomputes every order key (HKDF-SHA256), MAC (HMAC-SHA256), checksum (CRC-32) and book, so that the vectors
stand on their own and not on the program they test. Prints one line a file; exits 1 at the first difference.
"""

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
    for check in (order_keys, signing, checksums, book, decimals, requests, messages):
        print(f"{check.__name__}: {check()} vectors hold")


if __name__ == "__main__":
    main()
