//! The way from an operator's `admin.reload` to whoever reads the files, and of the answer back.

use std::sync::Arc;

use sealfeed_wire::RequestId;
use sealfeed_wire::reply::{Done, ErrorReply};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::SessionHandle;
use super::answers::encoded;
use super::batch::Batch;
use super::core::Core;
use crate::types::Code;

/// Reloads that may wait.
pub const RELOADS_MAX: usize = 16;

/// An operator wants files to be read again. It is answered with [`super::Command::Reloaded`].
#[derive(Debug)]
pub struct ReloadRequest {
    /// Who.
    pub session: Arc<SessionHandle>,
    /// Its name for the request.
    pub id: Option<RequestId>,
    /// The entry that says so: nothing is done before it is durable.
    pub entry: u64,
}

/// Where requests go; nowhere in a pipeline without a server around it.
#[derive(Default)]
pub(super) struct Reloads(Option<mpsc::Sender<ReloadRequest>>);

impl Reloads {
    /// A place for one request.
    pub(super) fn try_reserve(&self) -> Result<mpsc::OwnedPermit<ReloadRequest>, Code> {
        let sender = self.0.clone().ok_or(Code::SesOpNotOffered)?;
        sender.try_reserve_owned().map_err(|error| match error {
            TrySendError::Full(_) => Code::OrdReloadBusy,
            TrySendError::Closed(_) => Code::SesDraining,
        })
    }
}

impl Core {
    /// The same core, whose operators can have files read again.
    #[must_use]
    pub fn with_reloads(mut self, requests: mpsc::Sender<ReloadRequest>) -> Self {
        self.reloads = Reloads(Some(requests));
        self
    }

    /// Answers an operator: done, or why nothing has changed.
    pub(super) fn reloaded(
        session: &Arc<SessionHandle>,
        id: Option<RequestId>,
        result: Result<(), Code>,
        batch: &mut Batch,
    ) {
        let answer = match result {
            Ok(()) => encoded(&Done { id, token_expires: None, rate_limits: session.rate_limits() }),
            Err(code) => encoded(&ErrorReply::new(id, code)),
        };
        batch.send(session, answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_reloads_wait_as_can_and_the_next_one_is_told_to_try_later() {
        let (sender, mut requests) = mpsc::channel(2);
        let reloads = Reloads(Some(sender));
        let first = reloads.try_reserve().unwrap();
        let _second = reloads.try_reserve().unwrap();
        assert_eq!(reloads.try_reserve().unwrap_err(), Code::OrdReloadBusy);
        assert!(Code::OrdReloadBusy.is_retryable());
        drop(first);
        assert!(reloads.try_reserve().is_ok());
        requests.close();
        assert_eq!(reloads.try_reserve().unwrap_err(), Code::SesDraining);
        assert_eq!(Reloads::default().try_reserve().unwrap_err(), Code::SesOpNotOffered);
    }
}
