//! What the crate writes, compared with the log that `tests/golden/make.py` built from `FORMAT.md` alone.

use crate::chain::{Hash, genesis_link, hex, log_id};
use crate::checkpoint::{self, TreeHead};
use crate::entry::{ClockState, Draft, OrderLink, SessionLink, Stamp};
use crate::epoch::{EpochKey, escrow_fingerprint};
use crate::group::{Fill, GroupBuilder, Head};
use crate::kind;
use crate::layout::{Genesis, Start, State};
use crate::merkle::Frontier;
use crate::note::SigningKey;
use crate::segment::SegmentHeader;
use crate::writer::seal_of;

const GOLDEN: &str = include_str!("../tests/golden/log.txt");
const ORIGIN: &str = "log.example/audit";
const BUILD: &str = "golden 1";
const RUN: u64 = 0x1122_3344_5566_7788;

/// A file of the golden log.
fn golden(name: &str) -> Vec<u8> {
    let mut lines = GOLDEN.lines().skip_while(|line| !line.starts_with(&format!("file {name} ")));
    let length = lines.next().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    let mut bytes = vec![0u8; length];
    for line in lines.take_while(|line| !line.starts_with("file ")) {
        let (offset, digits) = line.split_once(' ').unwrap();
        let offset: usize = offset.parse().unwrap();
        for (index, byte) in bytes[offset..].iter_mut().take(digits.len() / 2).enumerate() {
            *byte = u8::from_str_radix(&digits[index * 2..index * 2 + 2], 16).unwrap();
        }
    }
    bytes
}

fn boot_id() -> [u8; 16] {
    std::array::from_fn(|index| u8::try_from(index).unwrap())
}

struct Maker {
    key: SigningKey,
    head: Head,
    fill: Fill,
    segment: Vec<u8>,
    checkpoints: String,
}

impl Maker {
    fn new(id: Hash) -> Self {
        let key = SigningKey::from_seed(ORIGIN, &[0x42; 32]).unwrap();
        let head = Head {
            log_id: id,
            run: RUN,
            previous: genesis_link(&id),
            frontier: Frontier::new(),
            group: 0,
            key: EpochKey::first([1; 32]),
        };
        let fill = Fill::new(0, 0, 0, &[]);
        Self { key, head, fill, segment: Vec::new(), checkpoints: String::new() }
    }

    fn begin_segment(&mut self, number: u64) {
        let header = SegmentHeader {
            log_id: self.head.log_id,
            number,
            previous: self.head.previous,
            group: self.head.group,
            epoch: self.head.key.epoch(),
            run: RUN,
            created_utc_ns: 1_700_000_000_000_000_000,
            capacity_bytes: 270_336,
            boot_id: boot_id(),
            key: *self.key.public().bytes(),
            origin: ORIGIN.to_owned(),
            build: BUILD.to_owned(),
            frontier: self.head.frontier.clone(),
        };
        self.segment = header.sign(&self.key).unwrap();
        self.fill = Fill::new(number, self.head.frontier.size(), 0, &self.segment);
    }

    fn group(&mut self, drafts: &[Draft]) {
        let mut builder = GroupBuilder::new(&self.fill);
        for (index, draft) in drafts.iter().enumerate() {
            let seq = self.head.frontier.size() + index as u64;
            let stamp = Stamp {
                utc_ns: 1_700_000_000_000_000_000 + seq,
                monotonic_ns: 1_000 + seq,
                clock_error_ns: 250,
                clock_state: ClockState::Synchronised,
            };
            builder.push(&mut self.head, draft, stamp);
        }
        let group = builder.close(&mut self.head);
        if drafts.last().is_some_and(|draft| draft.kind == kind::EPOCH_END) {
            self.head.key = self.head.key.next();
        }
        self.fill.add(&group);
        self.segment.extend_from_slice(&group.bytes);
    }

    fn checkpoint(&mut self) {
        let head = TreeHead { size: self.head.frontier.size(), root: self.head.frontier.root() };
        self.checkpoints += &checkpoint::sign(&self.key, &head).unwrap();
        self.checkpoints.push('\n');
    }
}

fn genesis(maker: &Maker) -> Draft {
    let genesis = Genesis {
        origin: ORIGIN.to_owned(),
        log_id: maker.head.log_id,
        random: [7; 32],
        key: maker.key.public().to_string(),
        format: [0; 32],
        build: BUILD.to_owned(),
        configuration: [0; 32],
        escrow: escrow_fingerprint(&[1; 32]),
    };
    Draft { kind: kind::GENESIS, payload: genesis.to_payload(), ..Draft::default() }
}

fn application(kind: u16, payload: &[u8], session: Option<u64>, order: Option<(Option<u64>, u64)>) -> Draft {
    Draft {
        kind,
        schema: 1,
        session: session.map(|event| SessionLink { id: [9; 32], event }),
        order: order.map(|(previous, event)| OrderLink { id: 77, previous, event }),
        payload: payload.to_vec(),
    }
}

#[test]
fn the_writer_s_parts_make_the_golden_log_byte_for_byte() {
    let mut maker = Maker::new(log_id(ORIGIN, &[7; 32]));
    let own = |kind| Draft { kind, ..Draft::default() };
    let start = Start {
        build: BUILD.to_owned(),
        configuration: [0; 32],
        boot_id: boot_id(),
        previous_run_stopped: true,
    };
    let start = Draft { kind: kind::START, payload: start.to_payload(), ..Draft::default() };
    let bytes: Vec<u8> = (0..=255).collect();
    maker.begin_segment(0);
    maker.group(&[genesis(&maker)]);
    maker.checkpoint();
    maker.group(&[start, application(300, b"first", Some(1), None)]);
    let second = application(302, &bytes, None, Some((Some(3), 2)));
    maker.group(&[application(301, b"order", Some(2), Some((None, 1))), second, own(kind::EPOCH_END)]);
    maker.checkpoint();
    let seal = seal_of(&maker.fill, maker.head.log_id, 6).sign(&maker.key).unwrap();
    assert_eq!(hex(&maker.segment), hex(&golden("segments/00000000000000000000.seg")));
    assert_eq!(seal.as_bytes(), golden("segments/00000000000000000000.seal"));
    maker.begin_segment(1);
    maker.group(&[own(kind::HEARTBEAT)]);
    maker.group(&[own(kind::STOP)]);
    maker.checkpoint();
    maker.segment.extend_from_slice(&[0; 256]);
    assert_eq!(hex(&maker.segment), hex(&golden("segments/00000000000000000006.seg")));
    assert_eq!(maker.checkpoints.as_bytes(), golden("checkpoints"));
    assert_eq!(State::Closed { size: 8 }.to_text().as_bytes(), golden("state"));
}
