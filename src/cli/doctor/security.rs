//! `sealfeed doctor --security`: does to a live server what an attacker without rights would, and says whether it holds.
//!
//! Each check has its own connection. They are ordered so that what the server does about one fault does not fail the next check:
//! first what costs nothing, then what costs a session, and the three that count towards a ban of the principal last.

mod door;
mod forged;
mod log;
mod messages;
mod orders;

use std::path::Path;
use std::time::Duration;

use sealfeed_client::{ClientConfig, ClientIdentity};

use super::super::context::Problem;
use super::endpoint::Endpoint;
use super::report::{Fault, Report};
use super::session::{NoSession, Session};

/// The log writes five refusals of one address a second in full and counts the rest.
const PAUSE: Duration = Duration::from_millis(1_100);

/// How a check ended: what came.
enum Came {
    Pass(String),
    Fail(String),
    Skip(String),
}

/// Whom the log must name for a fault.
#[derive(Clone, Debug)]
enum Who {
    /// Address and port, of a peer without a session.
    Address(String),
    /// A session, hex.
    Session(String),
}

/// A failure that was provoked, and where the log must tell of it.
#[derive(Debug)]
struct Provoked {
    check: &'static str,
    who: Who,
    kinds: &'static [&'static str],
}

/// One run of all checks.
struct Examiner<'a> {
    endpoint: &'a Endpoint,
    config: &'a ClientConfig,
    identity: &'a ClientIdentity,
    report: &'a mut Report,
    provoked: Vec<Provoked>,
    /// Whether the log is looked at afterwards.
    reads_log: bool,
}

/// Runs every check; with a log (its directory, its public key) also whether each fault stands in it.
pub(super) async fn run(
    endpoint: &Endpoint,
    config: &ClientConfig,
    log: Option<(&Path, &str)>,
    report: &mut Report,
) -> Result<(), Problem> {
    let Some(identity) = &config.identity else { return Ok(()) };
    let reading = log.map(|(directory, key)| log::Reading::begin(directory, key)).transpose()?;
    let reads_log = reading.is_some();
    let mut examiner = Examiner { endpoint, config, identity, report, provoked: Vec::new(), reads_log };
    door::check(&mut examiner).await;
    messages::check(&mut examiner).await;
    orders::check(&mut examiner).await;
    messages::check_what_bans(&mut examiner).await;
    match reading {
        Some(reading) => log::check(&mut examiner, reading).await,
        None => examiner.skip("S14 log", "give --log and --log-key on the server's machine"),
    }
    Ok(())
}

impl Examiner<'_> {
    /// Reports a check, and remembers which entry it must have left.
    fn note(
        &mut self,
        check: &'static str,
        expected: &str,
        came: Came,
        who: Option<Who>,
        kinds: &'static [&'static str],
    ) {
        match came {
            Came::Pass(came) => {
                self.report.ok(check, format!("{expected}: {came}"));
                if let (Some(who), false) = (who, kinds.is_empty()) {
                    self.provoked.push(Provoked { check, who, kinds });
                }
            }
            Came::Fail(came) => {
                let fix = "The server does not hold here. docs/THREATS.md says what should, and where it stands in the code.";
                self.report.fail(check, &Fault::new(format!("expected {expected}; came {came}"), fix));
            }
            Came::Skip(why) => self.skip(check, &why),
        }
    }

    fn skip(&mut self, check: &'static str, why: &str) {
        self.report.skip(check, why);
    }

    /// A session for one check; otherwise what to report instead.
    async fn session(&self) -> Result<Session, Came> {
        match Session::open(self.endpoint, self.identity).await {
            Ok(session) => Ok(session),
            Err(NoSession::Refused(answer)) if answer.status == 429 => {
                let wait = answer.header("retry-after").unwrap_or("some");
                Err(Came::Skip(format!(
                    "this principal is banned or limited now; again in {wait} s ({})",
                    answer.text("code")
                )))
            }
            Err(error) => Err(Came::Fail(format!("no session: {}", error.words()))),
        }
    }

    /// Lets a second pass where the log is read, so that it names each fault by itself.
    async fn pause(&self) {
        if self.reads_log {
            tokio::time::sleep(PAUSE).await;
        }
    }
}
