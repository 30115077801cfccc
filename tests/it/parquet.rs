//! Entries as a Parquet file: read back with a reader and compared, column by column, with what replay prints.

use crate::process::run;
use crate::query::past;

#[cfg(not(feature = "parquet"))]
#[tokio::test(flavor = "multi_thread")]
async fn a_build_without_parquet_says_how_to_get_one_that_writes_it() {
    let past = past().await;
    let file = past.folder.path().join("entries.parquet");
    let refused = run(&["audit", "replay", past.log.to_str().unwrap(), "--parquet", file.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("--features parquet"));
    assert!(!file.exists());
}

#[cfg(feature = "parquet")]
mod written {
    use std::fs::{self, File};
    use std::path::Path;

    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use parquet::record::Field;
    use sealfeed_audit::reader::entries;
    use serde_json::Value;

    use super::*;
    use crate::process::replay;

    const COLUMNS: [&str; 11] = [
        "seq",
        "time",
        "kind",
        "session",
        "order",
        "order_event",
        "principal",
        "symbol",
        "code",
        "event",
        "hash",
    ];

    /// A column of every row, as text; null where there is nothing.
    fn rows(path: &Path) -> Vec<Vec<Option<String>>> {
        let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
        let rows = reader.get_row_iter(None).unwrap().map(Result::unwrap);
        rows.map(|row| {
            let (names, fields): (Vec<_>, Vec<_>) = row.get_column_iter().unzip();
            assert_eq!(names, COLUMNS);
            let text = |field: &Field| match field {
                Field::Null => None,
                Field::Str(text) => Some(text.clone()),
                Field::ULong(number) => Some(number.to_string()),
                Field::Long(number) => Some(number.to_string()),

                other => panic!("a field of no type of ours: {other:?}"),
            };
            fields.into_iter().map(text).collect()
        })
        .collect()
    }

    fn metadata(path: &Path, name: &str) -> Option<String> {
        let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
        let pairs = reader.metadata().file_metadata().key_value_metadata().unwrap();
        pairs.iter().find(|pair| pair.key == name).and_then(|pair| pair.value.clone())
    }

    fn check(log: &Path, path: &Path, filter: &[&str]) {
        let (log_text, path_text) = (log.to_str().unwrap(), path.to_str().unwrap());
        let arguments = [&["audit", "replay", log_text, "--parquet", path_text][..], filter].concat();
        let output = run(&arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        let sha256 = sealfeed_audit::hex(&sealfeed_audit::sha256(&fs::read(path).unwrap()));
        assert!(said.contains(&sha256), "{said}");
        let expected = replay(log, filter);
        let found = rows(path);
        assert_eq!(found.len(), expected.len());
        let stamps: Vec<(u64, u64)> = entries(log)
            .unwrap()
            .map(Result::unwrap)
            .map(|entry| (entry.header.seq, entry.header.stamp.utc_ns))
            .collect();
        for (row, json) in found.iter().zip(&expected) {
            let text = |name: &str| match &json[name] {
                Value::Null => None,
                Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            };
            let event = |name: &str| json["event"][name].as_str().map(str::to_owned);
            let seq = json["seq"].as_u64().unwrap();
            let time = stamps.iter().find(|(other, _)| *other == seq).unwrap().1;
            assert_eq!(row[0], Some(seq.to_string()));
            assert_eq!(row[1], Some(time.to_string()));
            for (column, name) in
                [(2, "kind"), (3, "session"), (4, "order"), (5, "order_event"), (10, "hash")]
            {
                assert_eq!(row[column], text(name), "{name} of entry {seq}");
            }
            assert_eq!((&row[6], &row[8]), (&event("principal"), &event("code")));
            let stated = event("symbol").or_else(|| {
                let body: Value = serde_json::from_str(&event("body")?).ok()?;
                body["symbol"].as_str().map(str::to_owned)
            });
            assert_eq!(row[7], stated, "symbol of entry {seq}");
            let whole: Value = serde_json::from_str(row[9].as_ref().unwrap()).unwrap();
            assert_eq!(whole, json["event"]);
        }
        let last = expected.last().map(|json| json["hash"].as_str().unwrap().to_owned());
        assert_eq!(metadata(path, "sealfeed.last_hash"), last);
        assert_eq!(metadata(path, "sealfeed.entries"), Some(expected.len().to_string()));
        assert_eq!(metadata(path, "sealfeed.origin").as_deref(), Some("sealfeed.local/log"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_parquet_file_says_what_replay_says_and_is_whole_or_not_there() {
        let past = past().await;
        let path = |name: &str| past.folder.path().join(name);
        check(&past.log, &path("all.parquet"), &[]);
        check(&past.log, &path("bob.parquet"), &["--principal", "acme/bob"]);
        check(&past.log, &path("none.parquet"), &["--principal", "acme/nobody"]);
        let again = |file: &Path| {
            run(&["audit", "replay", past.log.to_str().unwrap(), "--parquet", file.to_str().unwrap()])
        };
        let before = fs::read(path("bob.parquet")).unwrap();
        assert!(!again(&path("bob.parquet")).status.success(), "nothing is overwritten");
        assert_eq!(fs::read(path("bob.parquet")).unwrap(), before);

        // A log that breaks in the middle leaves no half a file.
        let segment = past.log.join("segments").join(sealfeed_audit::segment_name(0));
        let mut bytes = fs::read(&segment).unwrap();
        let at = bytes.windows(8).position(|part| part == b"acme/bob").unwrap();
        bytes[at] ^= 1;
        // Behind the damage another segment begins: it is no end that a crash explains.
        fs::write(&segment, bytes).unwrap();
        fs::write(past.log.join("segments").join(sealfeed_audit::segment_name(u64::MAX)), b"").unwrap();
        assert!(!again(&path("broken.parquet")).status.success());
        assert!(!path("broken.parquet").exists());
    }
}
