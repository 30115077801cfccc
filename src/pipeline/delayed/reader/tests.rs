//! The pipeline hears of the end of a reader, whatever that is.

use tokio::sync::mpsc;

use super::*;
use crate::feed::RingBounds;

fn late(commands: &mpsc::Sender<Command>) -> Late {
    let options = FeedOptions { epoch: Epoch(1), heartbeat_ns: 1, rings: RingBounds::NONE };
    let seed = Seed {
        directory: PathBuf::new(),
        commands: commands.downgrade(),
        clock: Clock::System,
        instruments: Arc::new(Instruments::new()),
        options,
        base: 0,
        delay_ms: 900_000,
        place: 2,
        generation: 9,
    };
    Late { seed, shared: Arc::default(), places: Vec::new(), next: None }
}

#[test]
fn a_reader_that_panics_or_fails_is_lost_and_one_that_nobody_wants_is_not() {
    let (commands, mut received) = mpsc::channel(4);
    let mut is_lost = |run: fn(&mut Late) -> Result<(), TapeError>| {
        late(&commands).end_with(run);
        match received.try_recv() {
            Ok(Command::Delayed { slot: (2, 9), delayed: Delayed::Lost }) => true,
            Ok(_) => panic!("something else"),
            Err(_) => false,
        }
    };
    assert!(is_lost(|_| panic!("injected by a test")));
    assert!(is_lost(|_| Err(TapeError::NotHeld)));
    assert!(!is_lost(|_| Ok(())));
}
