#!/usr/bin/env python3
"""Verifies a bundle about one order with Python's standard library alone, written from FORMAT.md alone: [N] is its section N.

    verify_bundle.py BUNDLE.tar [--key KEY|FILE] [--witness KEY|FILE]...

Prints what is proven or what is wrong, and the verdict; exits 0 VERIFIED, 1 RECOVERED (the log's beginning was pruned), 20 TAMPERED,
23 UNANCHORED (no key was given, or a witness asked for did not cosign), 2 usage, 66 no such file, 74 it cannot be read."""
import argparse, base64, re, sys
from pathlib import Path
from sealed_basics import NOTE_MAX, H, N, P, Bad, Key, entry, is_signed, lines, node, number, sha

BUNDLE_MAX, ENTRY_MAX, PROOF_MAX, PLACE = 64 << 20, 65535, 64 + 64 * 45 + NOTE_MAX, 2**64
GENESIS, PRUNE, CLOCK, CONNECT, ORDER, REFUSED, EXECUTION, CERTIFICATE = 1, 7, 10, 261, 266, 267, 268, 278
TEXTS = {"README.txt", "sealed_basics.py", "verify_bundle.py"}

def need(holds, what):
    if not holds: raise Bad(what)

def header(name, length):
    """The one form of the header of a member [13]."""
    def form(total): return (name.encode().ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + b"%011o\0" % length + b"00000000000\0" + total
                             + b"0" + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2 + bytes(167))
    return form(b"%06o\0 " % sum(form(b" " * 8)))
def members(data):
    found, at, last = {}, 0, ""
    need(len(data) <= BUNDLE_MAX, "it is too large")
    while any(data[at:at + 512]):
        head = data[at:at + 512]
        name, length = head[:100].rstrip(b"\0").decode("ascii"), head[124:135]
        need(re.fullmatch("[!-~]{1,100}", name) and re.fullmatch(b"[0-7]{11}", length), "the header of a member is none")
        length = int(length, 8)
        need(head == header(name, length) and name > last, f"{name} is not in its only form, or out of order")
        end = at + 512 + (length + 511) // 512 * 512
        need(end <= len(data) and not any(data[at + 512 + length:end]), f"{name} is cut, or not followed by zeros")
        found[name], at, last = data[at + 512:at + 512 + length], end, name
    need(len(data) == at + 1024 and not any(data[at:]), "the archive does not end as it must")
    return found

def parts(files):
    """The checkpoint, the entries with their proofs, the certificates."""
    listed = "".join(f"{sha(content).hex()}  {name}\n" for name, content in files.items() if name != "SHA256SUMS")
    need(files.get("SHA256SUMS") == listed.encode(), "the files are not those that SHA256SUMS lists")
    need(TEXTS < files.keys() and files.get("checkpoint"), "a file is missing")
    entries, proofs, certificates = {}, {}, {}
    for name, content in files.items():
        place = re.fullmatch("(entries/([0-9]{20}).entry|proofs/([0-9]{20}).tlog-proof|certificates/([0-9]{20})-(?:0|[1-9][0-9]*).der)", name)
        need(place or name in TEXTS | {"SHA256SUMS", "checkpoint"}, f"{name} has no place in a bundle")
        if place: need(int(place[2] or place[3] or place[4]) < PLACE, f"{name} has no place in a bundle")
        if place and place[2]: entries[int(place[2])] = content
        if place and place[3]: proofs[int(place[3])] = content.decode()
        if place and place[4]: certificates[name] = content
    need(entries.keys() == proofs.keys(), "entries and proofs do not belong together")
    need(all(len(e) <= ENTRY_MAX for e in entries.values()) and all(len(p.encode()) <= PROOF_MAX for p in proofs.values()), "a member is too long")
    return files["checkpoint"].decode(), entries, proofs, certificates

def unbase64(text):
    raw = base64.b64decode(text, validate=True)
    need(base64.b64encode(raw).decode() == text, "base64 is not in its only form")
    return raw
def head_of(note):
    """Origin, size and root of a checkpoint [7]."""
    text, gap, after = note.rpartition("\n\n")
    told = re.fullmatch(f"([^\n]*)\n{N}\n([A-Za-z0-9+/]{{43}}=)", text)
    need(gap and told and int(told[2]) < PLACE and len(note.encode()) <= NOTE_MAX, "the checkpoint is none")
    found = re.findall("\u2014 ([!-*,-~]{1,255}) ([A-Za-z0-9+/]{7,}={0,2})\n", after)
    need(found and "".join(f"\u2014 {name} {blob}\n" for name, blob in found) == after, "the checkpoint is none")
    return told[1], int(told[2]), unbase64(told[3]), f"{text}\n", [(name, unbase64(blob)) for name, blob in found]
def holds(proof, checkpoint, seq, leaf, size, root):
    """Whether this text proves that the entry is in the tree (C2SP tlog-proof; RFC 9162 section 2.1.3.2)."""
    told = re.fullmatch(f"c2sp.org/tlog-proof@v1\nindex {N}\n((?:[A-Za-z0-9+/]{{43}}=\n){{0,64}})\n(.*)", proof, re.DOTALL)
    if not told or int(told[1]) != seq or told[3] != checkpoint or seq >= size: return False
    at, last, result = seq, size - 1, leaf
    for sibling in map(unbase64, told[2].split()):
        if not last: return False
        if at & 1 or at == last:
            result = node(sibling, result)
            while not at & 1 and at: at, last = at >> 1, last >> 1
        else: result = node(result, sibling)
        at, last = at >> 1, last >> 1
    return not last and result == root

def fields(payload, form, whole=True):
    """The fields of a payload of the server [13]: t text, b bytes, n a number, m 48 bytes."""
    at, found = 0, []
    def take(length):
        nonlocal at
        need(at + length <= len(payload), "a payload ends too early")
        at += length
        return payload[at - length:at]
    def count():
        value = shift = 0
        while True:
            byte = take(1)[0]
            value, shift = value | (byte & 127) << shift, shift + 7
            need(value < PLACE and shift <= 70, "a number is too large")
            if byte < 128: return value
    for kind in form:
        raw = count() if kind == "n" else take(48 if kind == "m" else count())
        found.append(raw.decode() if kind == "t" else raw)
    need(not whole or at == len(payload), "a payload is too long")
    return found

class Entry:
    """An entry [3] with its links."""
    def __init__(self, raw):
        self.kind, self.seq, self.payload = entry(raw)
        self.previous, self.utc, self.run, self.schema = raw[16:48], number(raw, 48), number(raw, 80), number(raw, 4, 2)
        self.session, at = (raw[96:128], 136) if raw[1] & 2 else (None, 96)
        self.order = [number(raw, at + step) for step in (0, 8, 16)] if raw[1] & 4 else None

def event(it):
    """Principal, name and gist of an event of an order, whether it makes it, and what the client signed: op, time, nonce, body, signature."""
    need(it.schema in (1, 2), f"entry {it.seq} cannot be read")
    if it.kind == EXECUTION:
        principal, _, _, _, what = fields(it.payload, "ttntt", whole=False)
        return principal, "execution", what, False, None
    need(it.kind in (ORDER, REFUSED), f"entry {it.seq} is no event of an order")
    added = "bn" if it.schema == 2 else ""
    if it.kind == ORDER:
        principal, op, order, ts, proof, body, _, _, *more = fields(it.payload, "ttnnmtnn" + added)
        name, what, makes = "order", f"{op} {body}", op == "order.new" and order == it.order[0]
    else:
        principal, op, code, ts, proof, body, _, *more = fields(it.payload, "tttnmtn" + added)
        name, what, makes = "order_refused", f"{op} {code}", False
    signature = more[0] if more else b""
    need(len(signature) in (0, 64), f"entry {it.seq} has a signature that is none")
    return principal, name, what, makes, (op, ts, proof[:16], body, signature)

ED25519_INFO, P256_INFO = bytes.fromhex("302a300506032b6570032100"), bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
def element(der, at, tag):
    """Where the content of the element of DER at this place begins, and where it ends."""
    more = {0x81: 1, 0x82: 2}.get(der[at + 1], 0)  # bytes of the length behind the first
    start = at + 2 + more
    length = int.from_bytes(der[at + 2:start], "big") if more else der[at + 1]
    need(der[at] == tag and (0, 128, 256)[more] <= length < (128, 256, 65536)[more] and start + length <= len(der), "this DER is not read")
    return start, start + length
def public_key(der):
    """Kind and bytes of the public key of a certificate (RFC 5280, section 4.1); nothing for other kinds, and for what cannot be read."""
    try:
        at, end = element(der, 0, 0x30)
        inside, after = element(der[:end], at, 0x30)
        signature = element(der[:end], element(der[:end], after, 0x30)[1], 3)
        need(signature[1] == end == len(der), "this DER is not read")
        der, at = der[:after], inside
        if der[at] == 0xa0: _, at = element(der, at, 0xa0)
        for tag in (2, 0x30, 0x30, 0x30, 0x30): _, at = element(der, at, tag)
        info = der[at:element(der, at, 0x30)[1]]
    except (Bad, IndexError): return None, b""
    if info.startswith(P256_INFO) and len(info) == 91: return "ECDSA P-256", info[-64:]
    y, sign = number(info, 12, 32) & 2**255 - 1, info[-1] >> 7
    canonical = y < P and not (sign and y in (1, P - 1))
    return ("Ed25519", info[12:]) if info.startswith(ED25519_INFO) and len(info) == 44 and canonical else (None, b"")

P256, P256_ORDER = 2**256 - 2**224 + 2**192 + 2**96 - 1, 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551
P256_B = 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b
P256_BASE = (0x6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296, 0x4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5)
def p256_plus(p, q):
    """The sum of two points of the curve; None is the point at infinity."""
    if p is None or q is None: return q if p is None else p
    if p[0] == q[0] and (p[1] + q[1]) % P256 == 0: return None
    slope = (3 * p[0] * p[0] - 3) * pow(2 * p[1], -1, P256) if p == q else (q[1] - p[1]) * pow(q[0] - p[0], -1, P256)
    x = (slope * slope - p[0] - q[0]) % P256
    return x, (slope * (p[0] - x) - p[1]) % P256
def p256_times(factor, p):
    result = None
    for bit in f"{factor:b}":
        result = p256_plus(result, result)
        if bit == "1": result = p256_plus(result, p)
    return result
def p256_is_signed(public, message, signature):
    """FIPS 186-5, section 6.4.2, with SHA-256; the key is x then y, the signature r then s."""
    x, y, r, s = (int.from_bytes(part, "big") for part in (public[:32], public[32:], signature[:32], signature[32:]))
    if max(x, y) >= P256 or (y * y - x * x * x + 3 * x - P256_B) % P256 or not (0 < r < P256_ORDER and 0 < s < P256_ORDER): return False
    digest, inverse = int.from_bytes(sha(message), "big"), pow(s, -1, P256_ORDER)
    point = p256_plus(p256_times(digest * inverse % P256_ORDER, P256_BASE), p256_times(r * inverse % P256_ORDER, (x, y)))
    return point is not None and point[0] % P256_ORDER == r

def told_of(signed, it, leaf):
    """What to say of the signature of a message, with the certificate that opened its session; a wrong one is an error [13]."""
    op, ts, nonce, body, signature = signed
    if not signature: return "not signed"
    if leaf is None: return "signed, not checked: the bundle does not hold the certificate"
    kind, key = public_key(leaf)
    if not kind: return "signed, not checked: no Ed25519 or P-256 key can be read in the certificate"
    message = f"sealfeed-v1\n{it.session.hex()}\n{ts}\n{nonce.hex()}\n{op}\n{body}".encode()
    verifies = is_signed if kind == "Ed25519" else p256_is_signed
    need("\n" not in op and verifies(key, message, signature), f"entry {it.seq}: the signature is not by the key of the certificate over what the entry says")
    return f"signed by the certificate's key, valid ({kind})"

def tell(entries, origin, ders):
    """What the entries say together [13]: lines to print, the key of the genesis, whether the beginning was pruned."""
    said, key, pruned, first_use, chains, expected, leaves, signed = [], None, 0, {}, {}, {}, {}, []
    life = [it for it in entries if it.order]
    need(life, "there is no entry of an order")
    for place, it in enumerate(life):
        due = [life[0].order[0], life[place - 1].seq if place else 0, place]
        need(it.order == due, f"the life of the order has a gap: entry {it.seq} is {it.order}, {due} was due")
        principal, name, what, makes, message = event(it)
        need(place or makes and it.kind == ORDER, "the life does not begin with the message that makes the order")
        if not place: owner = principal
        need(principal == owner and (it.session or it.kind == EXECUTION), f"entry {it.seq} is of another principal, or of no session")
        if it.session: first_use.setdefault(it.session, it.seq)
        said.append(f"entry {it.seq} at {it.utc} ns: {name} {what}")
        if message and it.session: signed.append((message, it))
    said.insert(0, f"order {life[0].order[0]} of {owner}: {len(life)} events, none missing between them")
    clocks, connects = {}, []
    for it in entries:
        if it.order: continue
        if it.kind == GENESIS:
            told = lines("genesis", f"origin {re.escape(origin)}\nlog {H}\nrandom {H}\nkey ([^\n]*)\nformat {H}\nbuild [^\n]*\nconfiguration {H}\nescrow {H}",
                         it.payload.decode())
            log = told and sha(b"sealfeed/v1 log\n", origin.encode(), b"\n", bytes.fromhex(told[2]))
            need(told and it.seq == 0 and told[1] == log.hex() and it.previous == sha(b"sealfeed/v1 genesis\n", log), "the genesis is not that of this log")
            key = told[3]
            said.append(f"log {log.hex()} ({origin}), key {key}")
        elif it.kind == PRUNE:
            told = lines("prune", f"first {N}\nsegment {N}\nprev {H}\nfrontier {N}((?:\nnode {H})*)", it.payload.decode())
            good = told and told[5].count("node") == int(told[4]) == int(told[1]).bit_count() and int(told[2]) < PLACE
            need(good and 0 < int(told[1]) <= it.seq and not pruned and entries[0].seq, f"entry {it.seq} is no PRUNE, or out of place")
            pruned = int(told[1])
            said.append(f"entries before {pruned} were pruned; which log it is shows the key alone")
        elif it.kind == CLOCK:
            after = it.seq > life[0].seq
            told = re.match("sealfeed/v1 clock\nstate ([^\n]*)\n", it.payload.decode())
            need(told and after not in clocks and it.run == life[-after].run and (not after or it.seq > life[-1].seq), f"entry {it.seq} is no CLOCK, or out of place")
            clocks[after] = said.append(f"clock {told[1]} {'after' if after else 'before'} it, entry {it.seq}")
        elif it.kind == CERTIFICATE:
            name, count = fields(it.payload, "tn", whole=False)
            need(it.schema == 1 and count <= len(it.payload) and re.fullmatch(H, name), f"entry {it.seq} holds no certificates")
            chain = fields(it.payload, "tn" + "b" * count + "n")[2:-1]
            need((name, it.run) not in chains and (not chain or sha(chain[0]).hex() == name), f"entry {it.seq} holds other certificates than it names")
            chains[name, it.run] = it.seq
            expected.update((f"certificates/{it.seq:020}-{place}.der", der) for place, der in enumerate(chain))
        else:
            need(it.kind == CONNECT, f"entry {it.seq} of kind {it.kind} has no part in the story")
            connects.append(it)
    need(key is not None or pruned, "the genesis is missing, and no PRUNE says that it left")
    need(ders == expected, "the certificates are not those in the entries")
    presented = set()
    for it in connects:
        address, principal, _, certificate, _, _ = fields(it.payload, "tttttt", whole=it.schema == 1)
        mine = it.session and it.schema in (1, 2) and first_use.pop(it.session, 0) > it.seq and principal == owner
        need(mine and chains.get((certificate, it.run), 0) < it.seq, f"entry {it.seq} begins a session that is not the order's, or comes before its certificates")
        presented.add((certificate, it.run))
        leaves[it.session] = expected.get(f"certificates/{chains.get((certificate, it.run), 0):020}-0.der")
        chain = "its chain is in the bundle" if (certificate, it.run) in chains else "its chain is not in the bundle"
        said.append(f"session {it.session.hex()} from {address}, entry {it.seq}, certificate {certificate}; {chain}")
    need(chains.keys() <= presented, "nobody in the story presented these certificates")
    need(pruned or not first_use, "the connect entry of a session is missing")
    said += [f"message of entry {it.seq}: {told_of(message, it, leaves.get(it.session))}" for message, it in signed]
    return said, key, pruned

def verify(data, key, witnesses):
    """What to print, and the exit code."""
    checkpoint, raw, proofs, ders = parts(members(data))
    origin, size, root, text, signatures = head_of(checkpoint)
    entries = [Entry(raw[seq]) for seq in sorted(raw)]
    for seq, it in zip(sorted(raw), entries):
        need(it.seq == seq and holds(proofs[seq], checkpoint, seq, sha(b"\0", raw[seq]), size, root), f"entry {seq} is not in the log at its place")
    said, own, pruned = tell(entries, origin, ders)
    if own is not None:
        own = read_key(own, 1)
        need(key is None or own.text == key.text, "the genesis states another key than the one given")
    for one in (key, own): need(one is None or one.checkpoint(checkpoint) == (size, root), "the checkpoint is not signed by the log's key")
    anchored = key is not None
    for witness in witnesses:
        lines_of = [blob[4:] for name, blob in signatures if (name, blob[:4]) == (witness.name, witness.id)]
        for blob in lines_of:
            message = f"cosignature/v1\ntime {int.from_bytes(blob[:8], 'big')}\n{text}".encode()
            need(len(blob) == 72 and is_signed(witness.public, message, blob[8:]), f"the cosignature of {witness.name} is wrong")
            said.append(f"cosigned by {witness.name} at {int.from_bytes(blob[:8], 'big')} s")
        if not lines_of: anchored = said.append(f"NOT cosigned by {witness.name}")
    said.append(f"in the tree of {size} entries with root {root.hex()}")
    return said, ("RECOVERED", 1) if anchored and pruned else ("VERIFIED", 0) if anchored else ("UNANCHORED", 23)

def read_key(text, kind):
    """A key as text, of a log (1) or a witness (4)."""
    name, key_id, blob = text.split("+", 2)
    key = Key(name, unbase64(blob)[1:])
    if kind == 4: key.id = sha(name.encode(), b"\n\4", key.public)[:4]
    need(len(key.public) == 32 and unbase64(blob)[0] == kind and key.id.hex() == key_id and re.fullmatch("[!-*,-~]{1,255}", name), f"{text} is no key")
    return key

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle")
    parser.add_argument("--key")
    parser.add_argument("--witness", action="append", default=[])
    args = parser.parse_args()
    def given(text, kind): return read_key((Path(text).read_text() if Path(text).is_file() else text).strip(), kind)
    try: key, witnesses = args.key and given(args.key, 1), [given(text, 4) for text in args.witness]
    except (OSError, ValueError, IndexError, Bad) as error: sys.exit(print(f"verify_bundle.py: {error}", file=sys.stderr) or 2)
    try:
        with open(args.bundle, "rb") as file: data = file.read(BUNDLE_MAX + 1)
    except FileNotFoundError as error: sys.exit(print(f"verify_bundle.py: {error}", file=sys.stderr) or 66)
    except OSError as error: sys.exit(print(f"verify_bundle.py: {error}", file=sys.stderr) or 74)
    try: said, (verdict, code) = verify(data, key, witnesses)
    except (Bad, ValueError, IndexError) as wrong: said, verdict, code = [str(wrong)], "TAMPERED", 20
    for line in said: print("  " + "".join(c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in line))
    print(verdict)
    sys.exit(code)

if __name__ == "__main__": main()
