"""How a sealed log is read, for verify.py: [N] is section N of FORMAT.md. Standard library only; what it lacks stands here, CRC-32C, and in
sealed_basics.py."""
import fcntl, re
from pathlib import Path
from sealed_basics import NOTE_MAX, H, N, Bad, Key, entry, is_signed, lines, node, number, sha

VERDICTS = {"FORK": 24, "TAMPERED": 20, "TRUNCATED": 21, "EPOCH GAP": 25, "CORRUPT": 22, "UNCLEAN": 26,
            "UNANCHORED": 23, "RECOVERED": 1, "VERIFIED": 0}  # of those that hold, the first counts
WINDOW = 131072
SEAL = f"log {H}\nsegment {N}\nfirst {N}\nend {N}\nused {N}\nfile {N}\nsha256 {H}\nreason (?:rotated|recovered\ntorn {N}\ntorn-sha256 {H})"
TORN = f"kept {N}\nsegment {N}\n(torn-offset {N}\ntorn-bytes {N}\ntorn-sha256 {H})\ncheckpoint-(torn-offset {N}\ncheckpoint-torn-bytes " \
       f"{N}\ncheckpoint-torn-sha256 {H})\ncheckpoint-size {N}\nwitness-size {N}\nkey-epoch {N}"
LINK = f"log {H}\norigin ([^\n]+)\nsize {N}\nroot {H}\nreason ([^\n ]+)\nepoch {N}\ncount {N}"

CRC_TABLE = list(range(256))  # CRC-32C
for _ in range(8): CRC_TABLE = [value >> 1 ^ 0x82F63B78 * (value & 1) for value in CRC_TABLE]
def crc(data):
    value = 0xFFFFFFFF
    for byte in data: value = value >> 8 ^ CRC_TABLE[(value ^ byte) & 255]
    return (value ^ 0xFFFFFFFF).to_bytes(4, "little")

def root(frontier):
    result = frontier[-1] if frontier else sha()
    for subtree in frontier[-2::-1]: result = node(subtree, result)
    return result

def linked(links, tape):
    """What links to a tape [8], each with its sequence number, say of this one that is not so, and what is wrong with it up to the last of them."""
    known, reach = tape.log != bytes(32), max(tape.sizes, default=0)
    bad = [(list(VERDICTS)[verdict], seq, f"of the tape: {what}", ranged) for verdict, ranged, seq, what in tape.findings if seq < reach or not known]
    yield from bad
    for seq, told in links:
        if not told: yield "TAMPERED", seq, "TAPE_LINK is none"
        elif told[1] == tape.log.hex() and int(told[3]) > tape.reached:
            if not bad: yield "TRUNCATED", seq, "the tape does not reach this link"
        elif told[1] == tape.log.hex() and int(told[3]) >= tape.first and (tape.roots.get(int(told[3])) or b"").hex() != told[4]:
            yield "TAMPERED", seq, "the tape differs from what this links"
    last = [(seq, told[1]) for seq, told in links if told][-1:]
    if known and last and last[0][1] != tape.log.hex(): yield "TAMPERED", last[0][0], "last link is to another tape"

def frame(data, at):
    """A frame [4]: is it an entry, its body, where the next one starts."""
    magic, length = data[at:at + 4], number(data, at + 4, 4)
    end, following = at + 20 + length, at + (20 + length + 7) // 8 * 8
    if at + 16 > len(data): raise Bad("cut off")
    right = 1 <= length <= 65535 if magic == b"SFE1" else magic == b"SFG1" and length == 32
    if not right or data[at + 8:at + 16] != crc(data[at:at + 8]) + bytes(4): raise Bad("head of a frame is damaged")
    if following > len(data): raise Bad("cut off")
    if data[end - 4:following] != crc(data[at + 16:end - 4]) + bytes(following - end): raise Bad("frame is damaged")
    return magic == b"SFE1", data[at + 16:end - 4], following
def header(data):
    """The header of a segment [5]: log, number, first, prev, group, epoch, frontier, key."""
    name, build, hashes, first = (number(data, at, size) for at, size in ((140, 2), (142, 2), (144, 2), (56, 8)))
    zeros = data[146:152] + data[200:256] + data[256 + name:512] + data[512 + build:1024] + data[1024 + 32 * hashes:4028]
    if len(data) < 4096 or data[4028:4032] != crc(data[:4028]) or any(zeros): raise Bad("header is damaged")
    if data[:16] != b"sealfeed\1\0\0\0\0\x10\0\0" or name > 255 or build > 128 or hashes != first.bit_count() or number(data, 136, 4) != WINDOW \
       or first == 0 and data[64:96] != sha(b"sealfeed/v1 genesis\n", data[16:48]): raise Bad("header is not canonical")
    if not is_signed(data[168:200], b"sealfeed/v1 segment\n" + data[:4032], data[4032:4096]): raise Bad("header has a wrong signature")
    return (data[16:48], number(data, 48), first, data[64:96], number(data, 96), number(data, 104),
            [data[at:at + 32] for at in range(1024, 1024 + 32 * hashes, 32)], Key(data[256:256 + name].decode(errors="replace"), data[168:200]))

def group(data, at):
    """The group that starts here [4]: entries, seal, where it ends; or Bad with what is wrong and the complete entries before that."""
    entries, start = [], at
    while True:
        ended = bool(entries) and len(entries[-1]) > 1 and entries[-1][1] & 1 == 1
        try:
            is_entry, body, at = frame(data, at)
            if at - start > WINDOW or is_entry == ended: raise Bad("group is too long, or its seal out of place")
        except Bad as bad: raise Bad(str(bad), len(entries) - ended)
        if not is_entry: return entries, body, at
        entries.append(body)
def later_group(data, at, group, run):
    """Whether an intact entry of a later group of this run lies behind `at`."""
    for found in re.finditer(b"SFE1", data[at:]):
        try: is_entry, body, _ = frame(data, at + found.start())
        except Bad: continue
        if found.start() % 8 == 0 and is_entry and number(body, 72) > group and number(body, 80) == run: return True
    return False
def next_checkpoint(data, at, key):
    """Of the file `checkpoints` [7]: the checkpoint here, or None; where to go on; whether what is here may be what a crash leaves."""
    note = re.compile(rb"(?s).*?\n\n.*?\n\n").match(data, at)
    if note and 0 not in note[0] and len(note[0]) <= NOTE_MAX: return key.checkpoint(note[0][:-1].decode(errors="replace")), note.end(), None
    for found in re.compile(b"(?s)(?=" + re.escape(key.name.encode()) + rb"\n.*?\n\n(.*?\n\n))").finditer(data, at + 1):
        if key.checkpoint(data[found.start():found.end(1) - 1].decode(errors="replace")): return None, found.start(), False
    return None, len(data), len(data) - at <= NOTE_MAX and (not note or 0 in note[0])

class Folder:
    """A log's files [2]; whether a writer is at work; what `state` and the key file say [10]."""
    def __init__(self, path):
        self.path = Path(path)
        self.began = self.live, text = self.seen()
        state = lines("state", f"writer (open|closed\nsize {N})", text)
        self.state, self.closed_size = state and state[1][:6], int(state[2]) if state and state[2] else 0
        slots = [(self.read("keys/epoch.key") or b"")[at:at + 80] for at in (0, 4096)]
        valid = (slot for slot in slots if slot[:8] == b"sfepoch1" and sha(slot[:48]) == slot[48:])
        self.key_epoch = max((number(slot, 8) for slot in valid), default=0)
        self.checkpoints = self.read("checkpoints")
        self.firsts = sorted(int(file.stem) for file in self.path.glob("segments/*.seg") if re.fullmatch("[0-9]{20}", file.stem))
    def seen(self):
        """Whether a writer is at work, and what `state` says."""
        live = False
        try:
            with open(self.path / "lock") as lock: fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (FileNotFoundError, BlockingIOError) as error: live = isinstance(error, BlockingIOError)
        return live, self.text("state")
    def read(self, name): return (self.path / name).read_bytes() if (self.path / name).is_file() else None
    def text(self, name): return (self.read(name) or b"").decode(errors="replace")
    def segment(self, first): return self.read(f"segments/{first:020}.seg")
    def seal(self, first, key):
        """The lines under the seal of a segment [6]; None where there is no file, and False where it is no seal of this key's."""
        note = self.read(f"segments/{first:020}.seal")
        return note and (lines("seal", SEAL, key.open(note.decode(errors="replace"))) or False)

def settled(verify):
    """What a verification found; found again, eight times at most, where a writer started or stopped under its eyes [11]."""
    for _ in range(8):
        found = verify()
        if found.folder.live or found.verdict in ("VERIFIED", "RECOVERED", "UNANCHORED") or found.folder.seen() == found.folder.began: break
    return found
