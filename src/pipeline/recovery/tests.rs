//! Whoever waits for what a thread reads hears of its end, whatever that is.

use sealfeed_wire::Channel;
use tokio::sync::mpsc;

use super::*;
use crate::pipeline::Retelling;
use crate::types::InstrumentId;

fn shared(commands: &mpsc::Sender<Command>) -> Shared {
    Shared {
        directory: PathBuf::new(),
        commands: commands.downgrade(),
        clock: Clock::System,
        state: Mutex::default(),
        work: Condvar::new(),
    }
}

fn lost() -> Command {
    Command::Retold {
        number: 7,
        session: crate::pipeline::tests::session(3),
        key: (Channel::Book, InstrumentId(0)),
        retelling: Retelling::Lost { ending: Ending::because(Code::SesPositionLost) },
    }
}

#[test]
fn a_reader_for_whom_a_thread_panics_is_sent_away_and_the_thread_goes_on() {
    let (commands, mut received) = mpsc::channel(4);
    let shared = shared(&commands);
    let mut did = 0;
    answer(&shared, lost(), || panic!("injected by a test"));
    answer(&shared, lost(), || did += 1);
    assert_eq!(did, 1);
    let Ok(Command::Retold { number: 7, retelling: Retelling::Lost { ending }, .. }) = received.try_recv()
    else {
        panic!("nobody was told")
    };
    assert_eq!(ending, Ending::because(Code::SesPositionLost));
    assert!(received.try_recv().is_err(), "what was done is not lost");
}

#[test]
fn a_request_that_was_looked_up_in_vain_is_answered() {
    let (commands, mut received) = mpsc::channel(4);
    let shared = shared(&commands);
    let request = Subscribe {
        channel: Channel::Trades,
        symbols: sealfeed_wire::Symbols::All,
        depth: None,
        conflate_ms: None,
        on_slow: None,
        resume: Vec::new(),
    };
    let look_up =
        LookUp { session: crate::pipeline::tests::session(3), id: None, request, wanted: Vec::new() };
    let work = Work::LookUp(Box::new(look_up), Vec::new());
    answer(&shared, work.lost(), || panic!("injected by a test"));
    assert!(matches!(received.try_recv(), Ok(Command::LookedUp { .. })));
}

#[test]
fn a_place_is_given_back_where_its_work_panics() {
    let (commands, _received) = mpsc::channel(4);
    let shared = Arc::new(shared(&commands));
    let recoveries = Recoveries(Arc::clone(&shared));
    let place = recoveries.place(3).unwrap();
    answer(&shared, lost(), move || {
        let _place = place;
        panic!("injected by a test");
    });
    assert_eq!(shared.state.lock().places, 0);
}
