#!/usr/bin/env python3
"""Verifies a sealed log with Python's standard library alone, written from FORMAT.md alone: [N] is its section N.

    verify.py DIR [--key KEY|FILE] [--anchor FILE]... [--receipt FILE]... [--k0 FILE] [--expect-size N] [--tape DIR]
Prints what is wrong and the verdict; exits as [11] says, with 2 for an anchor of no use, 66 for no log, 74 if it cannot be read."""
import argparse, base64, fcntl, hashlib, hmac, json, re, sys
from pathlib import Path
from sealed_log import (H, LINK, N, NOTE_MAX, TORN, VERDICTS, WINDOW, Bad, Folder, Key, entry, group, header, later_group, lines, linked,
                        next_checkpoint, node, number, root, settled, sha)

EPOCHS_MAX, GENESIS, START, STOP, EPOCH_END, RECOVERY, PRUNE, TAPE_LINK = 2**26, 1, 2, 3, 5, 6, 7, 12

class Verifier:
    def __init__(self, folder, key=None, anchors=(), receipts=(), k0=None, expect=0, tape=None, links=()):
        self.folder, self.findings, self.expect, self.k0, self.epoch_key = Folder(folder), [], expect, k0, k0 and (0, k0)
        self.links, self.recoveries, self.prunes, self.headers, self.roots, self.torn, self.run, self.ended, self.kind = [], [], [], {}, {}, None, None, False, 0
        if not self.folder.firsts: sys.exit(66)
        self.first = self.size = self.reached = self.folder.firsts[0]
        try: (self.log, self.number, _, self.previous, self.group, self.epoch, self.frontier, own) = header(self.folder.segment(self.first))
        except Bad as bad:
            self.add("TAMPERED", self.first, str(bad))
            self.log, self.number, self.epoch, self.frontier, own = bytes(32), 0, 0, [], Key("unknown", bytes(32))
        self.key, self.number, self.sizes = key or own, self.number if self.first else 0, {int(told[3]) for _, told in links if told and told[1] == self.log.hex()}
        self.anchors = [self.key.checkpoint(note.rstrip("\n") + "\n") for note in anchors]
        if None in self.anchors or any(log != self.log != bytes(32) for log, _, _ in receipts): sys.exit(2)
        self.receipts = [(seq, leaf) for _, seq, leaf in receipts if seq >= self.first]
        self.anchored = key or k0 or expect or self.receipts or any(size >= self.first for size, _ in self.anchors)
        self.own, self.skipped = self.checkpoints(self.folder.checkpoints)
        if self.first: self.roots[self.first] = root(self.frontier)
        self.complete = self.sound_end = True
        try: self.segments(self.folder.firsts)
        except Bad as bad:
            what, seq, ranged = (bad.args + (self.size, False)[len(bad.args) - 1:])[:3]
            self.complete = what and self.add("TAMPERED", seq, what, ranged)
        for found in linked(self.links, settled(lambda: Verifier(tape, links=self.links))) if tape else (): self.add(*found)
        self.verdict = self.conclude()
    def add(self, verdict, seq, what, ranged=False): self.findings.append((list(VERDICTS).index(verdict), ranged, seq, what))
    def checkpoints(self, data):
        """The good checkpoints [7], and what was stepped over because a crash tore it [9]."""
        good, skipped, at = [], [], 0
        if data is None: self.add("TAMPERED", 0, "checkpoints are missing")
        while data and at < len(data):
            last, copy = good[-1] if good else (0, b""), self.folder.read(f"quarantine/checkpoints-{at:020}.torn")
            if copy and len(copy) <= NOTE_MAX and data.startswith(copy, at):
                torn = f"torn-offset {at}\ncheckpoint-torn-bytes {len(copy)}\ncheckpoint-torn-sha256 {sha(copy).hex()}"
                at += len(copy)
                skipped.append((last[0], torn, "UNCLEAN" if at == len(data) else "TAMPERED"))
                continue
            if copy: self.add("TAMPERED", last[0], "copy in the quarantine differs from the checkpoints")
            head, at, torn = next_checkpoint(data, at, self.key)
            if head and head[0] < last[0]: self.add("TAMPERED", head[0], "checkpoint follows one of a larger size")
            elif head: good.append(head)
            elif not torn: self.add("TAMPERED", last[0], "checkpoint is none, or its signature is wrong")
            elif not self.folder.live: self.add("UNCLEAN", last[0], "last checkpoint is incomplete")
        return good, skipped
    def epoch_gap(self, seq): self.add("EPOCH GAP" if self.epoch_key else "TAMPERED", seq, "epoch is not the one due")
    def matched(self, heads, least=0, most=2**64):
        return max((size for size, hash in heads if least <= size <= most and self.roots.get(size) == hash), default=0)
    def segments(self, firsts):
        for first in firsts:
            data, last = self.folder.segment(first), first == firsts[-1]
            if first != self.size: raise Bad("segment that starts with this entry is missing")
            log, segment, starts, previous, group, epoch, frontier, key = header(data)
            if (log, starts, key.text) != (self.log, first, self.key.text): raise Bad("header is of another log, place or key")
            if (segment, previous, group, frontier) != (self.number, self.previous, self.group, self.frontier):
                raise Bad("segment does not continue the one before")
            if epoch != self.epoch + self.ended: self.epoch_gap(first)
            self.headers[first] = f"first {first}\nsegment {segment}\nprev {previous.hex()}\nfrontier {len(frontier)}" + \
                "".join(f"\nnode {subtree.hex()}" for subtree in frontier)
            self.number, seal = segment + 1, self.folder.seal(first, self.key)
            if last and seal is None: self.open_end(data)
            elif not seal or seal.group(1, 2, 3) != (log.hex(), str(segment), str(first)): raise Bad("seal is missing, or of another segment")
            else: self.sealed(first, data, last, seal)
    def sealed(self, first, data, last, seal):
        (end, used, length), torn = map(int, seal.group(4, 5, 6)), int(seal[8] or 0)
        at, what = self.groups(data[:used])
        if (at, self.size) != (used, end): raise Bad(f"segment does not end as its seal says: {what}", self.size + self.before)
        own, known = self.matched(self.own), any(seq >= first for _, _, seq, _ in self.findings)
        if sha(data[:used]).hex() != seal[7]:
            raise Bad(None if known else "segment differs from its SHA-256", first if own == end else max(first, own), True)
        if len(data) != length or not seal[8] and used != length: raise Bad("segment is not as long as its seal says")
        if not seal[8]: return own == end or self.folder.live and (not self.own or self.own[-1][0] < end) or self.add("TAMPERED", own, "checkpoint of its close is missing")
        found, self.torn = data[used:used + torn], f"torn-offset {used}\ntorn-bytes {torn}\ntorn-sha256 {seal[9]}"
        if torn > WINDOW or sha(found).hex() != seal[9] or any(data[used + torn:]): raise Bad("torn bytes are not those under the seal")
        if self.folder.read(f"quarantine/segment-{first:020}.torn") != found: self.add("TAMPERED", end, "copy in the quarantine differs from the torn bytes")
        if last: self.add("UNCLEAN", end, "recovery began and did not end")
    def groups(self, data):  # takes all complete ones; where they end, and what keeps another from following
        end = 4096
        while True:
            try: entries, seal, end = group(data, end)
            except Bad as bad:
                what, self.before = bad.args
                return end, what
            self.take(entries, seal)
    def take(self, entries, seal):
        first, gap, recoveries = self.size, None, []
        for index, e in enumerate(entries):
            kind, seq, payload = entry(e)
            in_place = (seq, e[16:48], number(e, 72)) == (self.size, self.previous, self.group) and (kind == GENESIS) == (seq == 0)
            if not in_place or self.run not in (None, number(e, 80)) and kind not in (GENESIS, START, RECOVERY):
                raise Bad("entry is out of place: number, link, group, genesis or run")
            if number(e, 64) != self.epoch + (self.ended and index == 0) or kind == EPOCH_END and e is not entries[-1]:
                gap = seq if gap is None else gap
            self.epoch, self.run, self.ended, self.kind, self.previous = number(e, 64), number(e, 80), kind == EPOCH_END, kind, sha(b"\0", e)
            if any(at == seq and leaf != self.previous for at, leaf in self.receipts): self.add("TAMPERED", seq, "entry is not that of a receipt")
            subtree, self.size = self.previous, seq + 1
            for _ in range((seq ^ seq + 1).bit_length() - 1): subtree = node(self.frontier.pop(), subtree)
            self.frontier, text = self.frontier + [subtree], payload.decode(errors="replace")
            if kind == GENESIS: self.genesis(text)
            if kind == PRUNE: self.prunes.append((seq, text))
            if kind == TAPE_LINK: self.links.append((seq, lines("tape-link", LINK, text)))
            if kind == RECOVERY: recoveries.append((seq, lines("recovery", TORN, text)))
        self.group, self.reached = self.group + 1, self.size
        self.roots[self.size] = root(self.frontier) if self.size in self.sizes or any(size == self.size for size, _ in self.own + self.anchors) else None
        if gap is not None: self.epoch_gap(gap)
        if self.epoch_key: self.seal(first, seal)
        for seq, told in recoveries:
            if not told or self.torn and (told[3], told[1]) != (self.torn, str(seq)): self.add("TAMPERED", seq, "RECOVERY does not fit")
            self.recoveries, self.torn = self.recoveries + [told and told[7]], self.torn if not told else None
        if self.torn: self.torn = self.add("TAMPERED", self.size - 1, "segment does not begin with its RECOVERY")
    def genesis(self, text):
        told = lines("genesis", f"origin {re.escape(self.key.name)}\nlog {self.log.hex()}\nrandom {H}\nkey {re.escape(self.key.text)}\n"
                     f"format {H}\nbuild .*\nconfiguration {H}\nescrow {H}", text)
        if not told or self.log != sha(b"sealfeed/v1 log\n", self.key.name.encode(), b"\n", bytes.fromhex(told[1])):
            self.add("TAMPERED", 0, "genesis is not that of this log and key")
        if self.k0 and told and told[4] != sha(b"sealfeed/v1 escrow\n", self.k0).hex():
            self.epoch_key = self.add("TAMPERED", 0, "K(0) given is not the one in escrow for this log")
    def seal(self, first, seal):
        def by(key, epoch):
            place = epoch.to_bytes(8, "little") + (self.size - 1).to_bytes(8, "little")
            return hmac.digest(key, b"sealfeed/v1 seal\n" + self.log + place + self.previous, "sha256")
        (epoch, key), other = self.epoch_key if self.epoch_key[0] <= self.epoch else (0, self.k0), self.k0
        if self.epoch - epoch > EPOCHS_MAX: self.epoch_key = self.add("EPOCH GAP", first, "epoch is out of all proportion")
        if not self.epoch_key: return
        for _ in range(epoch, self.epoch): key = sha(b"sealfeed/v1 evolve\n", key)
        self.epoch_key = (self.epoch, key) if by(key, self.epoch) == seal else None
        for epoch in range(0 if self.epoch_key else self.epoch + 10001):
            if seal in (bytes(32), by(other, epoch), by(other, self.epoch)): return self.add("EPOCH GAP", first, "seal is of another epoch, or none")
            other = sha(b"sealfeed/v1 evolve\n", other)
        if not self.epoch_key: self.add("TAMPERED", first, "seal of the group does not fit its epoch's key")
    def claims(self): return [0, self.expect, *self.sizes] + [size for size, _ in self.own[-1:] + self.anchors] + [seq + 1 for seq, _ in self.receipts]
    def open_end(self, data):
        at, what = self.groups(data)
        seq, rest, covered = self.size + self.before, data[at:].rstrip(b"\0"), max(self.claims()) > self.size
        if self.folder.live and (not self.own or self.own[-1][0] <= self.size) or not self.folder.live and not rest: return
        later = not self.folder.live and later_group(data, at, self.group, self.run)
        self.sound_end = not (later or self.folder.live or covered and what != "cut off")
        verdict = "CORRUPT" if self.folder.state == "closed" or len(rest) > WINDOW else "UNCLEAN"
        verdict = "TAMPERED" if not self.sound_end else "TRUNCATED" if covered else verdict
        self.add(verdict, seq, f"{what} behind the last complete group" + ", and intact ones follow" * later + ", and a checkpoint covers it" * covered)
    def conclude(self):
        for seq, text in self.prunes:
            told = lines("prune", f"(first {N}\nsegment {N}\nprev {H}\nfrontier {N}((?:\nnode {H})*))", text)
            first = int(told[2]) if told and told[6].count("node") == int(told[5]) == int(told[2]).bit_count() else -1
            if first < 0 or first >= self.first and (self.headers.get(first) != told[1] or first > seq):
                self.add("TAMPERED", seq, "PRUNE is none, or differs from the header of the segment it names")
        keeps = max([int(text.split()[3]) for _, text in self.prunes if re.match("sealfeed/v1 prune\nfirst [0-9]+\n", text)], default=0)
        if self.complete and self.first > keeps: self.add("TAMPERED", 0, "beginning is missing and no PRUNE allows it")
        signed, own, due = self.own + self.anchors, self.own[-1][0] if self.own else 0, self.epoch + self.ended
        for size, hash in signed:
            fits = not self.first <= size <= self.reached or self.roots.get(size) == hash
            if any(at == size and other != hash for at, other in signed) or not fits and self.matched(signed, size):
                self.add("FORK", size - 1, "this checkpoint is signed, and so is one that excludes it")
            elif not fits: self.add("TAMPERED", self.matched(signed, 0, size), f"tree differs from the checkpoint of size {size}", True)
        for before, torn, verdict in self.skipped:
            if before >= self.first and torn not in self.recoveries and self.complete: self.add(verdict, own, "torn, and no RECOVERY declares it")
        if self.complete and self.sound_end:
            if max(self.claims()) > self.size: self.add("TRUNCATED", self.size, f"log should have {max(self.claims())} entries")
            if self.folder.key_epoch > due: self.add("EPOCH GAP" if self.k0 else "TRUNCATED", self.size, "key is of a later epoch")
            state, stopped = self.folder.state, self.kind == STOP and own < self.size
            if self.folder.live: pass
            elif self.folder.closed_size > self.size: self.add("TRUNCATED", self.size, "log was stopped with more entries")
            elif state == "closed" and own < self.size or not state and stopped: self.add("TRUNCATED", own, "last checkpoint is missing")
            elif state == "open" and stopped: self.add("UNCLEAN", own, "writer ended between STOP and its checkpoint")
        clean = "UNANCHORED" if not self.anchored else "RECOVERED" if self.recoveries or self.first else "VERIFIED"
        self.findings.sort()
        return list(VERDICTS)[self.findings[0][0]] if self.findings else clean
def main():
    parser = argparse.ArgumentParser()
    for name in ("folder", "--key", "--k0", "--expect-size", "--tape"): parser.add_argument(name)
    for name in ("--anchor", "--receipt"): parser.add_argument(name, action="append", default=[])
    args = parser.parse_args()
    try:
        text = args.key and (Path(args.key).read_text() if Path(args.key).is_file() else args.key).strip()
        name, key_id, blob = text.split("+", 2) if text else (None, None, "")
        key = Key(name, base64.b64decode(blob)[1:]) if text else None
        receipts = [json.loads(line) for file in args.receipt for line in Path(file).read_text().splitlines() if line.strip()]
        receipts = [(bytes.fromhex(it["log"]), it["seq"], bytes.fromhex(it["hash"])) for it in receipts]
        k0 = args.k0 and bytes.fromhex(Path(args.k0).read_text().strip())
        if key and key.text != text or k0 and len(k0) != 32: sys.exit(2)
        anchors, expect = [Path(file).read_text() for file in args.anchor], int(args.expect_size or 0)
    except (OSError, ValueError, KeyError, TypeError) as error: sys.exit(print(f"verify.py: {error}", file=sys.stderr) or 2)
    found = settled(lambda: Verifier(args.folder, key, anchors, receipts, k0, expect, args.tape))
    for verdict, ranged, seq, what in found.findings: print(f"  {list(VERDICTS)[verdict]}: {'about ' * ranged}entry {seq}: {what}")
    print(f"{found.verdict}: {found.size} entries")
    sys.exit(VERDICTS[found.verdict])
if __name__ == "__main__":
    try: main()
    except Exception as error: sys.exit(print(f"verify.py: cannot be read: {error!r}", file=sys.stderr) or 74)
