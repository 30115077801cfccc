"""What verify.py and verify_bundle.py both need: hashes, Ed25519 signatures (RFC 8032), signed notes, entries. [N] is section N of FORMAT.md.
Python's standard library only."""
import base64, hashlib, re

NOTE_MAX, N, H = 16384, "(0|[1-9][0-9]{0,19})", "([0-9a-f]{64})"

class Bad(Exception): """What is not as it must be, and further arguments; nothing behind it counts."""

def sha(*parts): return hashlib.sha256(b"".join(parts)).digest()
def number(data, at, size=8): return int.from_bytes(data[at:at + size], "little")

def node(left, right): return sha(b"\1", left, right)
def lines(title, pattern, text): return re.fullmatch(f"sealfeed/v1 {title}\n{pattern}\n", text or "")


P, ORDER = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493  # Ed25519, RFC 8032
D = -121665 * pow(121666, -1, P) % P
def point(data):
    y, sign = int.from_bytes(data, "little") & 2**255 - 1, data[31] >> 7
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if x * x % P == square else x * pow(2, (P - 1) // 4, P) % P
    if y >= P or x * x % P != square or x == 0 and sign: raise ValueError("no point of the curve")
    x = x if x & 1 == sign else P - x
    return x, y, 1, x * y % P
def plus(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]), (p[1] + p[0]) * (q[1] + q[0])
    c, d = 2 * p[3] * q[3] * D, 2 * p[2] * q[2]
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P
def times(factor, p):
    result = (0, 1, 1, 0)
    for bit in f"{factor:b}": result = plus(plus(result, result), p) if bit == "1" else plus(result, result)
    return result
BASE = point((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
def is_signed(public, message, signature):
    try: a, r, s = point(public), point(signature[:32]), number(signature, 32, 32)
    except (ValueError, IndexError): return False
    k = number(hashlib.sha512(signature[:32] + public + message).digest(), 0, 64) % ORDER
    p, q = times(s, BASE), plus(r, times(k, a))
    return len(signature) == 64 and s < ORDER and (p[0] * q[2] - q[0] * p[2]) % P == (p[1] * q[2] - q[1] * p[2]) % P == 0

class Key:
    """A public key with the name that it signs under [7]."""
    def __init__(self, name, public):
        self.name, self.public, self.id = name, public, sha(name.encode(), b"\n\1", public)[:4]
        self.text = f"{name}+{self.id.hex()}+{base64.b64encode(b'%c%b' % (1, public)).decode()}"
    def open(self, note):
        """The text of a note on which there is a signature of this key and no wrong one; or None."""
        text, gap, after = note.rpartition("\n\n")
        found, good = re.findall("\u2014 ([!-*,-~]{1,255}) ([A-Za-z0-9+/]{7,}={0,2})\n", after), set()
        if not gap or "".join(f"\u2014 {name} {blob}\n" for name, blob in found) != after: return None
        for name, blob in found:
            try: raw = base64.b64decode(blob, validate=True)
            except ValueError: return None
            if base64.b64encode(raw).decode() != blob: return None
            if name == self.name and raw[:4] == self.id: good.add(is_signed(self.public, f"{text}\n".encode(), raw[4:]))
        return f"{text}\n" if good == {True} and len(note.encode()) <= NOTE_MAX else None
    def checkpoint(self, note):
        found = re.fullmatch(f"([^\n]+)\n{N}\n([A-Za-z0-9+/]{{43}}=)\n", self.open(note) or "")
        return (int(found[2]), base64.b64decode(found[3])) if found and found[1] == self.name else None

def entry(e):
    """The kind, sequence number and payload of an entry [3]."""
    flags, links = (e[1], 20 * (e[1] & 2) + 6 * (e[1] & 4)) if len(e) >= 96 else (255, 0)
    if flags & ~7 or e[0] != 1 or e[6] > 2 or e[7] or number(e, 92, 4) != len(e) - 96 - links: raise Bad("entry is not canonical")
    return number(e, 2, 2), number(e, 8), e[96 + links:]
