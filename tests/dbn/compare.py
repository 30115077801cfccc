"""Compares a recording with what was exported of its replay, by Databento's own decoder.

    compare.py ORIGINAL EXPORT      both MBO, DBN with zstd; needs the packages databento-dbn and zstandard

Every record must be the same in all that the feed takes from a recording, in the same order, and none more or less. Counts by action and the
volume traded are printed. Exit: 0 the same, 1 not."""
import collections, sys
import databento_dbn as dbn
import zstandard


def records(path):
    """Header and MBO records of a file."""
    decoder = dbn.DBNDecoder()
    with open(path, "rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as unpacked:
        while chunk := unpacked.read(1 << 20):
            decoder.write(chunk)
            for record in decoder.decode():
                yield record


def told(record):
    """What the feed takes from a record, and so what an export must have."""
    flags = int(record.flags) & 128
    order = 0 if str(record.action) == "T" else record.order_id  # whose order traded, the feed does not say
    return (str(record.action), str(record.side), order, record.price, record.size, flags, record.ts_event, record.ts_recv)


def main():
    original, exported = (records(path) for path in sys.argv[1:3])
    next(original)
    metadata = next(exported)
    assert isinstance(metadata, dbn.Metadata), metadata
    assert str(metadata.schema) == "mbo" and metadata.ts_out, metadata
    assert metadata.symbols == ["ESH4"], metadata.symbols
    actions, volume, count = collections.Counter(), 0, 0
    for number, (expected, found) in enumerate(zip(original, exported, strict=True)):
        assert isinstance(found, dbn.MBOMsg), found
        if told(expected) != told(found):
            sys.exit(f"record {number} differs: {told(expected)} was recorded, {told(found)} exported")
        assert found.ts_out > found.ts_recv, found
        actions[str(found.action)] += 1
        volume += found.size if str(found.action) == "T" else 0
        count += 1
    print(f"{count} records are the same: {dict(sorted(actions.items()))}, volume {volume}")


main()
