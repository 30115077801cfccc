#!/usr/bin/env python3
"""Verifies a bundle about one order with Python's standard library alone, written from FORMAT.md alone: [N] is its section N.

    verify_bundle.py BUNDLE.tar [--key KEY|FILE] [--witness KEY|FILE]...

Prints what is proven or what is wrong, and the verdict; exits 0 VERIFIED, 1 RECOVERED (the log's beginning was pruned), 20 TAMPERED,
23 UNANCHORED (no key was given, or a witness asked for did not cosign), 2 usage, 66 no such file, 74 it cannot be read."""
import argparse, base64, re, sys
from pathlib import Path
from sealed_basics import NOTE_MAX, H, N, Bad, Key, entry, is_signed, lines, node, number, sha

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
    """Principal, name and gist of an event of an order."""
    need(it.schema in (1, 2), f"entry {it.seq} cannot be read")
    if it.kind == ORDER:
        principal, op, order, _, _, body = fields(it.payload, "ttnnmtnn" + ("bn" if it.schema == 2 else ""))[:6]
        return principal, "order", f"{op} {body}", op == "order.new" and order == it.order[0]
    need(it.kind in (REFUSED, EXECUTION), f"entry {it.seq} is no event of an order")
    found = fields(it.payload, "ttt" if it.kind == REFUSED else "ttntt", whole=False)
    return (found[0], "order_refused", " ".join(found[1:]), False) if it.kind == REFUSED else (found[0], "execution", found[4], False)

def tell(entries, origin, ders):
    """What the entries say together [13]: lines to print, the key of the genesis, whether the beginning was pruned."""
    said, key, pruned, first_use, chains, expected = [], None, 0, {}, {}, {}
    life = [it for it in entries if it.order]
    need(life, "there is no entry of an order")
    for place, it in enumerate(life):
        due = [life[0].order[0], life[place - 1].seq if place else 0, place]
        need(it.order == due, f"the life of the order has a gap: entry {it.seq} is {it.order}, {due} was due")
        principal, name, what, makes = event(it)
        need(place or makes and it.kind == ORDER, "the life does not begin with the message that makes the order")
        if not place: owner = principal
        need(principal == owner and (it.session or it.kind == EXECUTION), f"entry {it.seq} is of another principal, or of no session")
        if it.session: first_use.setdefault(it.session, it.seq)
        said.append(f"entry {it.seq} at {it.utc} ns: {name} {what}")
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
        address, principal, _, certificate, _, _ = fields(it.payload, "tttttt")
        mine = it.session and it.schema == 1 and first_use.pop(it.session, 0) > it.seq and principal == owner
        need(mine and chains.get((certificate, it.run), 0) < it.seq, f"entry {it.seq} begins a session that is not the order's, or comes before its certificates")
        presented.add((certificate, it.run))
        chain = "its chain is in the bundle" if (certificate, it.run) in chains else "its chain is not in the bundle"
        said.append(f"session {it.session.hex()} from {address}, entry {it.seq}, certificate {certificate}; {chain}")
    need(chains.keys() <= presented, "nobody in the story presented these certificates")
    need(pruned or not first_use, "the connect entry of a session is missing")
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
