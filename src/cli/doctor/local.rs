//! What can be told without a network: files, who may read them, the certificate, its key, this machine's clock.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use sealfeed_client::{ClientConfig, ClientIdentity, clock};
use sealfeed_wire::UnixNanos;

use super::super::context::{EXIT_USAGE, Target};
use super::endpoint::check_pair;
use super::report::{Fault, Report};
use crate::clock::format_utc;
use crate::identity::{chain_breaks_at, describe};

/// Fewer days than these make a warning.
const DAYS_LEFT_MIN: u64 = 14;
const DAY_NS: u64 = 24 * 60 * 60 * 1_000_000_000;
/// 2026-01-01: this program did not exist before it.
const PROGRAM_BEGAN: UnixNanos = UnixNanos(1_767_225_600 * 1_000_000_000);

/// Everything on this machine; `None` if nothing can be tried with it.
pub(super) fn check(target: &Target, report: &mut Report) -> Option<ClientConfig> {
    report.ok("context", target.place());
    let config = match target.config() {
        Ok(config) => config,
        Err(problem) => {
            report.fail("files", &(&problem).into());
            return None;
        }
    };
    files(target, report);
    if let Some(identity) = &config.identity {
        certificate(identity, report);
        if let Err(error) = check_pair(identity) {
            let fix = "Name the key that was made with this certificate (client.key beside client.pem).";
            let what = format!("does not belong to the certificate: {error}");
            report.fail("key", &Fault::new(what, fix).exit(EXIT_USAGE));
            return None;
        }
        report.ok("key", "belongs to the certificate");
    }
    match &target.context().order_key {
        Some(path) => report.ok("order key", format!("{}, well-formed", path.display())),
        None => report.skip("order key", "none is named: orders can be signed by the certificate's key only"),
    }
    let now = clock::system_time();
    if now < PROGRAM_BEGAN {
        let what = format!("this machine believes it is {}", format_utc(now));
        report.fail("local clock", &Fault::new(what, "Set the clock, and keep it by NTP or PTP."));
    } else {
        report.ok("local clock", format_utc(now));
    }
    Some(config)
}

fn files(target: &Target, report: &mut Report) {
    let context = target.context();
    let secrets = [Some(&context.key), context.order_key.as_ref()];
    let exposed = secrets.into_iter().flatten().filter_map(|path| exposed(path));
    let exposed: Vec<String> = exposed.collect();
    if exposed.is_empty() {
        report.ok("files", "all are readable, and the secret ones by their owner alone");
    } else {
        let paths = exposed.join(", ");
        report.warn(
            "files",
            format!("others can read {paths}"),
            "chmod 600 what is named; if others had access, replace it.",
        );
    }
}

/// A file that others than its owner can read, with its mode.
fn exposed(path: &Path) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| format!("{} (mode {mode:03o})", path.display()))
}

fn certificate(identity: &ClientIdentity, report: &mut Report) {
    const STEP: &str = "certificate";
    let described = identity.chain.first().and_then(|der| describe(der));
    let Some(leaf) = described else {
        let fix = "Take the certificate as the PKI script made it: PEM, the client's own one first.";
        return report.fail(STEP, &Fault::new("the first certificate cannot be read", fix).exit(EXIT_USAGE));
    };
    let now = clock::system_time();
    let dates = format!("{} to {}", day(leaf.not_before), day(leaf.not_after));
    let who = format!("{}, serial {}, issued by {}", leaf.subject, leaf.serial, leaf.issuer);
    let renew = "Renew it (pki.sh renew FIRM/USER); if its dates are good, this machine's clock is wrong.";
    let failed = |what: String, fix: &str| Fault::new(what, fix);
    if let Some(why) = leaf.unfit_for_clients {
        let fix = "Name the client certificate (client.pem), not a server's or an authority's.";
        report.fail(STEP, &failed(format!("{who}: {why}"), fix));
    } else if let Some(position) = chain_breaks_at(&identity.chain) {
        let what = format!("certificate {position} of the file was not issued by the one behind it");
        report.fail(
            STEP,
            &failed(what, "Put the chain in order: the client's own certificate, then its issuer."),
        );
    } else if now > leaf.not_after {
        report.fail(STEP, &failed(format!("{who}: expired, {dates}"), renew));
    } else if now < leaf.not_before {
        report.fail(STEP, &failed(format!("{who}: not valid yet, {dates}"), renew));
    } else {
        let days = (leaf.not_after.0 - now.0) / DAY_NS;
        let text =
            format!("{who}; {dates}, {days} days left; {} certificates in the file", identity.chain.len());
        if days < DAYS_LEFT_MIN {
            report.warn(
                STEP,
                text,
                "Renew it now (pki.sh renew FIRM/USER): open sessions end at its last second, too.",
            );
        } else {
            report.ok(STEP, text);
        }
    }
}

/// The day of a time, UTC.
pub(super) fn day(time: UnixNanos) -> String {
    let text = format_utc(time);
    text.split_once('T').map_or(text.clone(), |(day, _)| day.to_owned())
}
