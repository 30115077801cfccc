//! One failure of a client command: four lines on standard error and an exit code.

use std::error::Error;
use std::process::ExitCode;

use sealfeed_client::{CloseCause, Closed, ConnectError, RequestError};
use sealfeed_wire::{AnyCode, CloseCode, Code};

use crate::cli::plain::plain;

/// Wrong arguments, or files that cannot be used.
pub(in crate::cli) const EXIT_USAGE: u8 = 2;
/// No connection, or it was lost.
pub(in crate::cli) const EXIT_CANNOT_CONNECT: u8 = 3;
/// The certificate is good, but what was asked for is not granted.
pub(in crate::cli) const EXIT_NOT_ENTITLED: u8 = 4;
/// The order was refused and did nothing.
pub(in crate::cli) const EXIT_ORDER_REJECTED: u8 = 5;
/// Nobody here knows what became of the order.
pub(in crate::cli) const EXIT_ORDER_UNKNOWN: u8 = 6;
/// Anything else.
pub(in crate::cli) const EXIT_FAILED: u8 = 1;

/// What failed, where, what to do about it, and under which code to look it up.
#[derive(Debug)]
pub(in crate::cli) struct Problem {
    what: String,
    place: Option<String>,
    fix: String,
    code: Option<AnyCode>,
    exit: u8,
}

impl Problem {
    /// A failure in one sentence: lower case, no full stop.
    pub(in crate::cli) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), place: None, fix: String::new(), code: None, exit: EXIT_FAILED }
    }

    /// An error and all its causes.
    pub(in crate::cli) fn of_error(error: &dyn Error) -> Self {
        let mut what = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // A cause of several lines (TOML) would break the four; its first line says it.
            let line = text.lines().next().unwrap_or_default();
            what += &format!(": {line}");
            cause = error.source();
        }
        Self::new(what)
    }

    pub(in crate::cli) fn of_connect(error: &ConnectError) -> Self {
        let (mut problem, code) = match error {
            // The alert behind it says the same in another language.
            ConnectError::CertificateRefused { .. } => (Self::new(error.to_string()), error.code()),
            ConnectError::UpgradeRefused(refusal) if !refusal.message.is_empty() => {
                (Self::new(format!("{error}: {}", refusal.message)), error.code())
            }
            ConnectError::ClosedEarly(closed) => return Self::of_close(closed),
            _ => (Self::of_error(error), error.code()),
        };
        let is_refusal = code.as_ref().is_some_and(is_entitlement);
        problem.exit = if is_refusal { EXIT_NOT_ENTITLED } else { EXIT_CANNOT_CONNECT };
        problem.code = code;
        problem.fix(error.hint())
    }

    pub(in crate::cli) fn of_request(error: &RequestError) -> Self {
        match error {
            RequestError::Refused(refusal) => {
                let detail = refusal.detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
                Self::new(format!("the server refused: {}{detail}", refusal.message))
                    .fix(refusal.hint.clone())
                    .code(refusal.code.clone())
                    .exit(refusal_exit(&refusal.code, EXIT_FAILED))
            }
            RequestError::NotSent(closed) | RequestError::ConnectionLost(closed) => Self::of_close(closed),
            RequestError::Timeout { .. } => Self::of_error(error)
                .fix("Try again; if it stays so, ask the operator.")
                .exit(EXIT_CANNOT_CONNECT),
            RequestError::OrderKeyMissing => Self::of_error(error)
                .fix("Name the order key: order_key in the context file, or --order-key.")
                .exit(EXIT_USAGE),
            _ => Self::of_error(error).fix("Tell the operator; this should not happen."),
        }
    }

    pub(in crate::cli) fn of_close(closed: &Closed) -> Self {
        let what = match closed.cause {
            CloseCause::Server => format!("the server closed the connection: {closed}"),
            _ => format!("the connection ended: {closed}"),
        };
        let is_withdrawn = closed.code == Some(CloseCode::EntitlementWithdrawn.number());
        let fix = match (closed.cause, closed.reconnect) {
            (CloseCause::CertificateRefused(refusal), _) => refusal.hint(),
            (_, sealfeed_wire::Reconnect::Yes) => "Connect again; the server's side invites to.",
            (_, sealfeed_wire::Reconnect::No) => {
                "Connecting again will not help by itself; ask the operator."
            }
        };
        let exit = if is_withdrawn { EXIT_NOT_ENTITLED } else { EXIT_CANNOT_CONNECT };
        let code = match closed.cause {
            CloseCause::CertificateRefused(refusal) => refusal.code().map(AnyCode::from),
            // The reason of a close frame begins with the code, where it has one.
            _ => closed.reason.split(' ').next().and_then(Code::parse).map(AnyCode::from),
        };
        Self { code, ..Self::new(what).fix(fix).exit(exit) }
    }

    /// Says first what it means.
    pub(in crate::cli) fn prefixed(mut self, meaning: &str) -> Self {
        self.what = format!("{meaning}: {}", self.what);
        self
    }

    /// Where it happened.
    pub(in crate::cli) fn at(mut self, place: impl Into<String>) -> Self {
        self.place.get_or_insert(place.into());
        self
    }

    /// What to do about it, as a sentence.
    pub(in crate::cli) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = fix.into();
        self
    }

    /// The stable code.
    pub(in crate::cli) fn code(mut self, code: AnyCode) -> Self {
        self.code = Some(code);
        self
    }

    /// The stable code, where there is none yet.
    pub(in crate::cli) fn code_if_none(mut self, code: AnyCode) -> Self {
        self.code.get_or_insert(code);
        self
    }

    /// What failed, where, what to do, and the code.
    pub(in crate::cli) fn parts(&self) -> (&str, Option<&str>, &str, Option<&AnyCode>) {
        (&self.what, self.place.as_deref(), &self.fix, self.code.as_ref())
    }

    /// With which exit code the command ends.
    pub(in crate::cli) const fn exit_code(&self) -> u8 {
        self.exit
    }

    /// The exit code.
    pub(in crate::cli) const fn exit(mut self, exit: u8) -> Self {
        self.exit = exit;
        self
    }

    /// Prints the four lines, unless it is none after all (exit code 0), and returns the exit code.
    pub(in crate::cli) fn tell(&self) -> ExitCode {
        if self.exit != 0 {
            anstream::eprint!("{}", self.lines());
        }
        ExitCode::from(self.exit)
    }

    fn lines(&self) -> String {
        let code = match &self.code {
            Some(code) => format!("{code} (sealfeed explain {code})"),
            None => "none; the client found it".to_owned(),
        };
        let place = self.place.as_deref().unwrap_or("this command");
        // Words of the server must not steer the terminal.
        let lines = [
            ("sealfeed: error:", self.what.as_str()),
            ("  where:", place),
            ("  fix:  ", &self.fix),
            ("  code: ", &code),
        ];
        lines.map(|(label, text)| format!("{label} {}\n", printable(text))).concat()
    }
}

/// Exit code of a refusal by the server; `otherwise` if it is not about entitlements.
pub(in crate::cli) fn refusal_exit(code: &AnyCode, otherwise: u8) -> u8 {
    if is_entitlement(code) { EXIT_NOT_ENTITLED } else { otherwise }
}

fn is_entitlement(code: &AnyCode) -> bool {
    let AnyCode::Known(code) = code else { return false };
    matches!(
        code,
        Code::SesEntitlementMissing
            | Code::SesEntitlementWithdrawn
            | Code::SubSymbolNotEntitled
            | Code::SubChannelNotEntitled
            | Code::SubDepthNotEntitled
            | Code::SubWildcardNotEntitled
            | Code::OrdNotEntitled
            | Code::OrdSymbolNotEntitled
            | Code::OrdAdminNotEntitled
    )
}

fn printable(text: &str) -> String {
    let line: String = text.chars().map(|one| if one.is_control() { ' ' } else { one }).collect();
    plain(&line).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_in_four_lines() {
        let problem =
            Problem::new("it failed\u{1b}[2J").at("here").fix("Mend it.").code(Code::OrdMacInvalid.into());
        assert_eq!(
            problem.lines(),
            "sealfeed: error: it failed [2J\n  where: here\n  fix:   Mend it.\n  code:  SF-ORD-001 (sealfeed explain SF-ORD-001)\n"
        );
    }

    #[test]
    fn a_missing_entitlement_has_its_own_exit_code() {
        assert_eq!(refusal_exit(&Code::OrdSymbolNotEntitled.into(), EXIT_ORDER_REJECTED), EXIT_NOT_ENTITLED);
        assert_eq!(refusal_exit(&Code::RskQuantityMax.into(), EXIT_ORDER_REJECTED), EXIT_ORDER_REJECTED);
    }
}
