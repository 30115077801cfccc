//! Resumption from the tape: what memory does not hold comes from there, whole and in order, and the live stream goes on behind it.

use std::os::unix::fs::FileExt as _;

use sealfeed::config::{Config, tape_directory};
use serde_json::{Value, json};

use crate::harness::{Client, POLICY, Pki, Server};
use crate::market::trading;

const ALICE: &str = "acme/alice";
const CAROL: &str = "acme/carol";
const DBN: &str = "Sec-WebSocket-Protocol: sealfeed.v1.dbn\r\n";

/// A brisk market of which memory holds next to nothing: a few messages of each stream.
fn forgetful(config: &mut Config) {
    trading(config, &["SEAL"], 2_000);
    config.feed.resume_stream_bytes_max = 16_384;
    config.tape.block_ms = 20;
    config.tape.keyframe_blocks = 8;
}

/// Data of one stream as it came, by number.
#[derive(Default)]
struct Log(Vec<(u64, Value)>);

impl Log {
    /// Takes a message if it is data of the channel; it must continue what came before.
    fn take(&mut self, channel: &str, message: &Value) {
        if message["channel"] != channel || message["prev_seq"].is_null() {
            return;
        }
        let seq = message["seq"].as_u64().unwrap();
        if let Some((last, _)) = self.0.last() {
            assert_eq!(message["prev_seq"].as_u64(), Some(*last), "a hole or a repetition: {message}");
        }
        self.0.push((seq, message.clone()));
    }

    fn last(&self) -> u64 {
        self.0.last().map_or(0, |(seq, _)| *seq)
    }

    async fn read_until(&mut self, client: &mut Client, channel: &str, seq: u64) {
        while self.last() < seq {
            let message = client.message().await;
            assert!(message["type"] != "gap" && message["type"] != "skipped", "{message}");
            self.take(channel, &message);
        }
    }
}

fn request(channel: &str, symbols: &[&str]) -> Value {
    json!({"op": "subscribe", "channel": channel, "symbols": symbols, "on_slow": "disconnect"})
}

async fn resume(client: &mut Client, channel: &str, epoch: &Value, seq: u64) -> Value {
    let mut request = request(channel, &["SEAL"]);
    request["resume"] = json!({"SEAL": {"epoch": epoch, "seq": seq}});
    client.request(request).await["symbols"]["SEAL"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_comes_back_late_gets_the_very_messages_that_an_unbroken_reader_got() {
    let server = Server::start(forgetful).await;
    for channel in ["trades", "bbo", "book"] {
        let mut alice = server.connect(&Pki::get().client(ALICE)).await;
        let mut carol = server.connect(&Pki::get().client(CAROL)).await;
        let reply = alice.request(request(channel, &["SEAL"])).await;
        let (epoch, start) =
            (&reply["symbols"]["SEAL"]["epoch"], reply["symbols"]["SEAL"]["seq"].as_u64().unwrap());
        let (mut whole, mut late) = (Log::default(), Log::default());
        // Far more than memory holds.
        whole.read_until(&mut alice, channel, start + 300).await;
        let stream = resume(&mut carol, channel, epoch, start + 1).await;
        assert_eq!((&stream["recovered"], &stream["epoch"]), (&json!(true), epoch), "{channel}: {stream}");
        let until = stream["seq"].as_u64().unwrap() + 100;
        late.read_until(&mut carol, channel, until).await;
        whole.read_until(&mut alice, channel, until).await;
        assert_eq!(late.0[0].0, start + 2);
        let missed: Vec<_> = whole.0.iter().filter(|(seq, _)| (start + 2..=until).contains(seq)).collect();
        let got: Vec<_> = late.0.iter().filter(|(seq, _)| *seq <= until).collect();
        assert!(missed == got, "{channel}");
    }
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_recovered_as_texts_are() {
    let server = Server::start(forgetful).await;
    let mut alice = server.connect(&Pki::get().client(ALICE)).await;
    let reply = alice.request(request("trades", &["SEAL"])).await;
    let (epoch, start) =
        (reply["symbols"]["SEAL"]["epoch"].clone(), reply["symbols"]["SEAL"]["seq"].as_u64().unwrap());
    let mut whole = Log::default();
    whole.read_until(&mut alice, "trades", start + 300).await;
    let mut carol = server.connect_with(&Pki::get().client(CAROL), DBN).await;
    let stream = resume(&mut carol, "trades", &epoch, start).await;
    assert_eq!(stream["recovered"], true, "{stream}");
    let until = stream["seq"].as_u64().unwrap() + 20;
    // Metadata and the symbol's number come first; then one record for each message.
    let wanted = usize::try_from(until - start).unwrap();
    carol.records_until(wanted + 2).await;
    let sizes: Vec<usize> = carol.records[2..].iter().map(Vec::len).collect();
    assert!(sizes.iter().all(|size| *size == size_of::<dbn::TradeMsg>()), "{sizes:?}");
    for (place, record) in carol.records[2..].iter().take(wanted).enumerate() {
        let sequence = u32::from_le_bytes(record[44..48].try_into().unwrap());
        assert_eq!(u64::from(sequence), start + 1 + place as u64, "no hole and no repetition");
    }
    drop(alice);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_reads_slowly_meanwhile_gets_everything_and_the_server_keeps_one_piece_for_it() {
    let server = Server::start(|config| {
        forgetful(config);
        config.limits.out_queue_bytes_max = 65_536;
    })
    .await;
    let mut alice = server.connect(&Pki::get().client(ALICE)).await;
    let reply = alice.request(request("book", &["SEAL"])).await;
    let (epoch, start) =
        (reply["symbols"]["SEAL"]["epoch"].clone(), reply["symbols"]["SEAL"]["seq"].as_u64().unwrap());
    let mut whole = Log::default();
    whole.read_until(&mut alice, "book", start + 1_500).await;
    // More than may wait for a client: the tape has no such bound.
    assert!(whole.0.iter().map(|(_, message)| message.to_string().len()).sum::<usize>() > 3 * 65_536);
    let mut carol = server.connect(&Pki::get().client(CAROL)).await;
    let stream = resume(&mut carol, "book", &epoch, start + 1).await;
    assert_eq!(stream["recovered"], true, "{stream}");
    let mut late = Log::default();
    while late.last() < stream["seq"].as_u64().unwrap() + 20 {
        late.take("book", &carol.message().await);
        if late.0.len() % 100 == 0 {
            // Others go on meanwhile.
            alice.goes_on().await;
        }
    }
    assert_eq!(late.0[0].0, start + 2);
    drop((alice, carol));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_before_and_after_a_restart_comes_in_one_piece() {
    let policy = format!(
        "{POLICY}\n[[rule]]\nname = \"facts\"\nmatch = {{ user = \"alice\" }}\n\
         channels = [\"status\", \"definition\"]\nsymbols = [\"*\"]\n"
    );
    let server = Server::with_policy(&policy, forgetful).await;
    let mut readers = Vec::new();
    for channel in ["trades", "bbo", "book"] {
        let mut alice = server.connect(&Pki::get().client(ALICE)).await;
        let reply = alice.request(request(channel, &["SEAL"])).await;
        let (epoch, start) =
            (reply["symbols"]["SEAL"]["epoch"].clone(), reply["symbols"]["SEAL"]["seq"].as_u64().unwrap());
        let mut before = Log::default();
        before.read_until(&mut alice, channel, start + 100).await;
        readers.push((channel, epoch, start, before));
    }
    let mut alice = server.connect(&Pki::get().client(ALICE)).await;
    let said = alice.request(request("definition", &["SEAL"])).await["symbols"]["SEAL"].clone();
    drop(alice);
    let (_, folder) = server.finish().await;
    let server = Server::try_start(folder, &policy, forgetful).await.unwrap();
    for (channel, epoch, start, before) in readers {
        let mut alice = server.connect(&Pki::get().client(ALICE)).await;
        let stream = resume(&mut alice, channel, &epoch, start + 10).await;
        assert_eq!((&stream["recovered"], &stream["epoch"]), (&json!(true), &epoch), "{channel}: {stream}");
        let mut after = Log::default();
        after.read_until(&mut alice, channel, stream["seq"].as_u64().unwrap() + 50).await;
        assert_eq!(after.0[0].0, start + 11);
        let known: Vec<_> = before.0.iter().filter(|(seq, _)| *seq > start + 10).cloned().collect();
        assert!(after.0[..known.len()] == known, "{channel}");
    }
    // What did not change while the server was down is not told again.
    let mut alice = server.connect(&Pki::get().client(ALICE)).await;
    let seq = said["seq"].as_u64().unwrap();
    let stream = resume(&mut alice, "definition", &said["epoch"], seq).await;
    assert_eq!((&stream["recovered"], &stream["seq"]), (&json!(true), &json!(seq)), "{stream}");
    // Nobody has followed the status in either run: what there was of it is known all the same.
    let stream = resume(&mut alice, "status", &said["epoch"], 1).await;
    assert_eq!(stream["recovered"], true, "{stream}");
    drop(alice);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_stream_waits_behind_all_that_was_missed_however_slowly_that_is_taken() {
    let server = Server::start(|config| {
        trading(config, &["SEAL"], 2_000);
        config.feed.resume_stream_bytes_max = 4 * 1024 * 1024;
        // So that what was missed waits in the server.
        config.limits.socket_unsent_bytes_max = 16 * 1024;
    })
    .await;
    let mut alice = server.connect(&Pki::get().client(ALICE)).await;
    let reply = alice.request(request("book", &["SEAL"])).await;
    let (epoch, start) =
        (&reply["symbols"]["SEAL"]["epoch"], reply["symbols"]["SEAL"]["seq"].as_u64().unwrap());
    let (mut whole, mut late) = (Log::default(), Log::default());
    whole.read_until(&mut alice, "book", start + 5_000).await;
    let mut carol = server.connect(&Pki::get().client(CAROL)).await;
    let stream = resume(&mut carol, "book", epoch, start + 1).await;
    assert_eq!(stream["recovered"], true, "{stream}");
    let joined = stream["seq"].as_u64().unwrap();
    // Carol reads nothing while the stream goes on.
    whole.read_until(&mut alice, "book", joined + 200).await;
    late.read_until(&mut carol, "book", joined + 200).await;
    assert_eq!(late.0[0].0, start + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_requests_for_a_stream_the_one_that_is_answered_last_holds() {
    let server = Server::start(forgetful).await;
    let mut alice = server.connect(&Pki::get().client(ALICE)).await;
    let reply = alice.request(request("book", &["SEAL"])).await;
    let stream = &reply["symbols"]["SEAL"];
    let (epoch, start) = (stream["epoch"].clone(), stream["seq"].as_u64().unwrap());
    let mut whole = Log::default();
    whole.read_until(&mut alice, "book", start + 300).await;
    let mut carol = server.connect(&Pki::get().client(CAROL)).await;
    let (mut first, mut second) = (request("book", &["SEAL"]), request("book", &["SEAL"]));
    first["id"] = "resumes".into();
    first["resume"] = json!({"SEAL": {"epoch": epoch, "seq": start + 1}});
    second["id"] = "afresh".into();
    carol.send(first.to_string()).await;
    carol.send(second.to_string()).await;
    let mut answered = Vec::new();
    let mut last = 0;
    while answered.len() < 2 || last < start + 400 {
        let message = carol.message().await;
        if message["type"] == "subscribed" {
            let recovered = message["symbols"]["SEAL"]["recovered"] == true;
            assert_eq!(recovered, message["id"] == "resumes", "{message}");
            // From its answer on, it is this one that is told on.
            last = if recovered { start + 1 } else { 0 };
            answered.push(message["id"].clone());
        } else if message["type"] == "snapshot" {
            assert_eq!(last, 0, "no state for who resumes: {message}");
            last = message["seq"].as_u64().unwrap();
        } else if message["type"] == "delta" {
            assert_eq!(message["prev_seq"].as_u64(), Some(last), "{answered:?}: {message}");
            last += 1;
        }
    }
    drop((alice, carol));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_older_than_the_stream_or_of_no_tape_is_a_gap_and_more_than_there_are_places_waits() {
    let symbols: Vec<String> = (0..20).map(|number| format!("S{number}")).collect();
    let names: Vec<&str> = symbols.iter().map(String::as_str).collect();
    let server = Server::start(|config| {
        trading(config, &names, 2_000);
        config.feed.resume_stream_bytes_max = 0;
        config.tape.block_ms = 20;
    })
    .await;
    let mut alice = server.connect(&Pki::get().client(ALICE)).await;
    let reply = alice.request(request("trades", &names)).await;
    let epoch = reply["symbols"]["S0"]["epoch"].clone();
    let mut traded = std::collections::BTreeSet::new();
    while traded.len() < 20 {
        let message = alice.message().await;
        if message["type"] == "trade" {
            traded.insert(message["symbol"].to_string());
        }
    }
    let mut carol = server.connect(&Pki::get().client(CAROL)).await;
    let mut wanted = request("trades", &names);
    wanted["resume"] =
        names.iter().map(|name| ((*name).to_owned(), json!({"epoch": epoch, "seq": 0}))).collect();
    let reply = carol.request(wanted).await;
    let of = |recovered: bool| {
        let streams = reply["symbols"].as_object().unwrap().values();
        streams.filter(|stream| stream["recovered"] == recovered).cloned().collect::<Vec<_>>()
    };
    assert_eq!((of(true).len(), of(false).len()), (16, 4), "{reply}");
    assert!(of(false).iter().all(|stream| stream["reason"] == "SF-SUB-024"), "{reply}");
    drop((alice, carol));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_unsubscribes_or_leaves_meanwhile_gets_no_more_and_gives_its_place_back() {
    let server = Server::start(forgetful).await;
    let mut alice = server.connect(&Pki::get().client(ALICE)).await;
    let reply = alice.request(request("trades", &["SEAL"])).await;
    let (epoch, start) =
        (reply["symbols"]["SEAL"]["epoch"].clone(), reply["symbols"]["SEAL"]["seq"].as_u64().unwrap());
    let mut whole = Log::default();
    whole.read_until(&mut alice, "trades", start + 300).await;
    // More often than there are places.
    for _ in 0..40 {
        let mut carol = server.connect(&Pki::get().client(CAROL)).await;
        let stream = resume(&mut carol, "trades", &epoch, start).await;
        assert_eq!(stream["recovered"], true, "{stream}");
        let ended =
            carol.request(json!({"op": "unsubscribe", "channel": "trades", "symbols": ["SEAL"]})).await;
        assert_eq!(ended["type"], "ok", "{ended}");
        let stream = resume(&mut carol, "trades", &epoch, start).await;
        assert_eq!(stream["recovered"], true, "{stream}");
        carol.leave();
    }
    alice.goes_on().await;
    drop(alice);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_had_come_from_the_tape_before_the_subscription_ended_stands_in_the_log() {
    let server = Server::start(|config| {
        forgetful(config);
        config.limits.socket_unsent_bytes_max = 16_384;
    })
    .await;
    let mut alice = server.connect(&Pki::get().client(ALICE)).await;
    let reply = alice.request(request("book", &["SEAL"])).await;
    let (epoch, start) =
        (reply["symbols"]["SEAL"]["epoch"].clone(), reply["symbols"]["SEAL"]["seq"].as_u64().unwrap());
    let mut whole = Log::default();
    whole.read_until(&mut alice, "book", start + 2_000).await;
    // Half a megabyte to read, of which the kernel and one piece hold a fraction: the end comes in the middle.
    for again in [
        json!({"op": "subscribe", "id": "end", "channel": "book", "symbols": ["SEAL"], "depth": 50}),
        json!({"op": "unsubscribe", "id": "end", "channel": "book", "symbols": ["SEAL"]}),
    ] {
        let mut carol = server.connect_with_a_small_window(&Pki::get().client(CAROL)).await;
        let id = carol.session.to_string();
        let stream = resume(&mut carol, "book", &epoch, start + 1).await;
        assert_eq!(stream["recovered"], true, "{stream}");
        let mut late = Log::default();
        late.read_until(&mut carol, "book", start + 20).await;
        carol.send(again.to_string()).await;
        loop {
            let message = carol.message().await;
            if message["id"] == "end" {
                break;
            }
            late.take("book", &message);
        }
        assert!(late.last() < stream["seq"].as_u64().unwrap(), "it had got everything before");
        let logged = server.logged("delivered", |event| event.session.as_deref() == Some(&*id)).await;
        let range = &logged.fields["ranges"][0];
        assert_eq!((range["first"].as_u64(), range["last"].as_u64()), (Some(start + 2), Some(late.last())));
    }
    drop(alice);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_is_sent_away_where_the_tape_turns_out_to_be_damaged_and_has_no_hole_until_then() {
    let server = Server::start(|config| {
        forgetful(config);
        // No place on the tape but its beginning.
        config.tape.keyframe_blocks = 1_000_000;
    })
    .await;
    let mut alice = server.connect(&Pki::get().client(ALICE)).await;
    let reply = alice.request(request("trades", &["SEAL"])).await;
    let (epoch, start) =
        (reply["symbols"]["SEAL"]["epoch"].clone(), reply["symbols"]["SEAL"]["seq"].as_u64().unwrap());
    let mut whole = Log::default();
    whole.read_until(&mut alice, "trades", start + 300).await;
    let segments = tape_directory(&server.log()).join("segments");
    let mut files =
        std::fs::read_dir(&segments).unwrap().map(|file| file.unwrap().path()).collect::<Vec<_>>();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    // Each run begins with a segment of its own.
    let file = files.iter().max().unwrap();
    let flip = || {
        let bytes = std::fs::read(file).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        (used / 2, bytes[used / 2])
    };
    let (place, byte) = flip();
    let write = |byte: u8| {
        let tape = std::fs::OpenOptions::new().write(true).open(file).unwrap();
        tape.write_all_at(&[byte], place as u64).unwrap();
    };
    write(byte ^ 0x55);
    let mut carol = server.connect(&Pki::get().client(CAROL)).await;
    let stream = resume(&mut carol, "trades", &epoch, start).await;
    if stream["recovered"] == true {
        let (ended, messages) = carol.ended().await;
        assert_eq!((ended.code, ended.reason.as_str()), (Some(4003), "SF-SES-038"), "{ended:?}");
        let mut late = Log::default();
        messages.iter().for_each(|message| late.take("trades", message));
        assert!(late.last() < stream["seq"].as_u64().unwrap(), "what came is whole, and not all");
    } else {
        assert_eq!(stream["reason"], "SF-SUB-018", "{stream}");
    }
    // Everybody else goes on.
    alice.goes_on().await;
    write(byte);
    drop(alice);
    server.finish().await;
}
