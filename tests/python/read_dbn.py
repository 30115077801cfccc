#!/usr/bin/env python3
"""Reads a file of DBN records with the public decoder and prints what is in it, as one JSON object.

The file is what one connection got in binary frames, written one after the other: header first. Exits 1 on anything
that the decoder does not take.
"""

import collections
import json
import pathlib
import sys

import databento_dbn as dbn


def levels(record, side):
    pairs = [(getattr(level, f"{side}_px"), getattr(level, f"{side}_sz"), getattr(level, f"{side}_ct")) for level in record.levels]
    return [list(pair) for pair in pairs if pair[0] != dbn.UNDEF_PRICE]


def orders(records):
    """The orders that rest after the MBO records of one instrument: snapshot first, then event by event."""
    mbo = [record for record in records if isinstance(record, dbn.MBOMsg)]
    begins = [record for record in mbo if record.flags & dbn.F_SNAPSHOT] if hasattr(dbn, "F_SNAPSHOT") else [record for record in mbo if record.flags & 32]
    held, place = {}, 0
    for record in mbo:
        action, order = str(record.action), record.order_id
        place += 1
        if action == "R":
            held.clear()
        elif action in "AM":
            side, before = str(record.side), held.pop(order, None)
            keeps = action == "M" and before and before[1:3] == (side, record.price) and record.size <= before[3]
            held[order] = (before[0] if keeps else place, side, record.price, record.size)
        elif action == "C" and order in held:
            before = held.pop(order)
            if before[3] > record.size:
                held[order] = (*before[:3], before[3] - record.size)
    queue = lambda side, sign: [[order, price] for order, (_, _, price, _) in sorted(
        ((order, one) for order, one in held.items() if one[1] == side), key=lambda pair: (sign * pair[1][2], pair[1][0]))]
    return {
        "count": len(held),
        "clears_first": bool(mbo) and str(mbo[0].action) == "R",
        "snapshot_sequence": begins[0].sequence if begins else None,
        "last_sequence": mbo[-1].sequence if mbo else None,
        "bids": queue("B", -1),
        "asks": queue("A", 1),
    }


def main():
    decoder = dbn.DBNDecoder()
    decoder.write(pathlib.Path(sys.argv[1]).read_bytes())
    header, *records = decoder.decode()
    if not isinstance(header, dbn.Metadata):
        sys.exit(f"the first record is {header!r} and not the header")
    if decoder.buffer():
        sys.exit(f"{len(decoder.buffer())} bytes are left over")
    kinds = collections.Counter(type(record).__name__ for record in records)
    actions = collections.Counter(str(record.action) for record in records if isinstance(record, dbn.MBOMsg))
    names = {}
    for place, record in enumerate(records):
        if isinstance(record, dbn.SymbolMappingMsg):
            names[record.instrument_id] = record.stype_in_symbol
        elif record.instrument_id not in names:
            sys.exit(f"record {place} of instrument {record.instrument_id} comes before its symbol")
    of = lambda kind: [record for record in records if isinstance(record, kind)]
    books, bars, definitions = of(dbn.MBP10Msg), of(dbn.OHLCVMsg), of(dbn.InstrumentDefMsg)
    print(json.dumps({
        "version": header.version,
        "dataset": header.dataset,
        "kinds": kinds,
        "actions": actions,
        "symbols": sorted(set(names.values())),
        "traded": sum(record.size for record in of(dbn.TradeMsg)),
        "bar_volume": sum(record.volume for record in bars),
        "bars_ok": all(record.low <= min(record.open, record.close) <= max(record.open, record.close) <= record.high for record in bars),
        "bids": levels(books[-1], "bid") if books else [],
        "asks": levels(books[-1], "ask") if books else [],
        "orders": orders(records),
        "book_sequences_ok": all(later.sequence == earlier.sequence + 1 for earlier, later in zip(books, books[1:])),
        "definition": [record.raw_symbol for record in definitions],
    }))


main()
