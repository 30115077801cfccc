//! Verification of a bundle from the command line, from arguments to exit code.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::print::escaped;
use super::{AskedError, read_key, read_witness_key, utc};
use crate::bundle::{BUNDLE_BYTES_MAX, Given, Proof, Report, Signature, check};
use crate::chain::hex;
use crate::verify::Verdict;

const USAGE: u8 = 2;
const NO_INPUT: u8 = 66;
const UNREADABLE: u8 = 74;

/// What somebody asks for on the command line, as text.
#[derive(Clone, Debug, Default)]
pub struct AskedBundle {
    /// The bundle.
    pub bundle: PathBuf,
    /// Public key of the log, or a file that holds it.
    pub key: Option<String>,
    /// Public keys of witnesses that must have cosigned, or files that hold them.
    pub witnesses: Vec<String>,
    /// JSON instead of text.
    pub json: bool,
}

/// Verifies a bundle, prints the report to standard output and errors to standard error; the exit code.
#[must_use]
pub fn verify_bundle_and_print(program: &str, asked: &AskedBundle) -> u8 {
    let mut stderr = io::stderr();
    let given = match given(asked) {
        Ok(given) => given,
        Err(error) => {
            let _ = writeln!(stderr, "{program}: error: {error}");
            return USAGE;
        }
    };
    let bytes = match read(&asked.bundle) {
        Ok(bytes) => bytes,
        Err(error) => {
            let _ = writeln!(stderr, "{program}: error: cannot read {:?}: {error}", asked.bundle);
            return if error.kind() == io::ErrorKind::NotFound { NO_INPUT } else { UNREADABLE };
        }
    };
    let report = check(&bytes, &given);
    let said = if asked.json { bundle_json(&report) + "\n" } else { bundle_text(&report) };
    let mut stdout = io::stdout().lock();
    match stdout.write_all(said.as_bytes()).and_then(|()| stdout.flush()) {
        // Whoever closed the pipe has the verdict in the exit code.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => UNREADABLE,
        _ => report.verdict.exit_code(),
    }
}

fn given(asked: &AskedBundle) -> Result<Given, AskedError> {
    let key = asked.key.as_deref().map(read_key).transpose()?;
    let witnesses = asked.witnesses.iter().map(|key| read_witness_key(key)).collect::<Result<_, _>>()?;
    Ok(Given { key, witnesses })
}

/// The bytes of a bundle: one more than it may have tells the checker that it is too large.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(BUNDLE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The report in words, several lines, the last ending in a newline. What comes from the bundle is escaped.
#[must_use]
pub fn bundle_text(report: &Report) -> String {
    let meaning = match report.verdict {
        Verdict::Verified => "what follows stands in the log that the given key signs",
        Verdict::Recovered => {
            "what follows stands in the log that the given key signs; the log's beginning was pruned"
        }
        Verdict::Unanchored => "consistent with itself only, or a witness is missing: see below",
        _ => "something does not fit",
    };
    let mut lines = vec![format!("{}: {meaning}", report.verdict)];
    lines.extend(report.problem.iter().map(|problem| format!("  {}", escaped(problem))));
    if let Some(proof) = &report.proof {
        tell(proof, &mut lines);
        lines.extend(proven(proof).map(|what| format!("  proven       {}", escaped(&what))));
        lines
            .extend(not_proven(report, proof).iter().map(|what| format!("  not proven   {}", escaped(what))));
    }
    lines.join("\n") + "\n"
}

/// The order's life and what stands around it.
fn tell(proof: &Proof, lines: &mut Vec<String>) {
    let story = &proof.story;
    let log = story.log_id.map_or_else(|| "(its genesis was pruned)".to_owned(), |id| hex(&id));
    lines.push(format!("  log          {log} ({})", escaped(&proof.origin)));
    lines.push(format!("  order        {} of {}", story.order, escaped(&story.principal)));
    for step in &story.life {
        let (seq, time) = (step.seq, utc(step.utc_ns));
        lines.push(format!("  entry        {seq} at {time}: {} {}", step.event, escaped(&step.what)));
        lines.extend(step.signature.map(|signature| format!("  signature    {signature}")));
    }
    for session in &story.sessions {
        let address = escaped(&session.address);
        lines.push(format!("  session      {} from {address}, entry {}", session.id, session.connect));
        let chain = session.chain.map_or_else(String::new, |chain| {
            format!("; {} certificates in entry {}, {} left out", chain.count, chain.seq, chain.left_out)
        });
        lines.push(format!("  certificate  {}{chain}", escaped(&session.certificate)));
    }
    for (word, place) in story.clock.iter().zip(["before", "after"]) {
        let Some(word) = word else { continue };
        lines.push(format!("  clock        {} {place} it, entry {}", escaped(&word.state), word.seq));
    }
    let head = &proof.head;
    lines.push(format!("  checkpoint   {} entries, root {}", head.size, hex(&head.root)));
}

fn proven(proof: &Proof) -> impl Iterator<Item = String> {
    let first = [
        format!("each of the {} entries stands in the log at its place, unchanged", proof.entries),
        format!(
            "the {} events of the order are all there were between its first and its last",
            proof.story.life.len()
        ),
    ];
    let (messages, valid) = (count(proof, |_| true), count(proof, is_valid));
    let signed = (valid > 0).then(|| {
        format!(
            "messages signed by the key of the certificate that opened their session: {valid} of {messages}"
        )
    });
    let witnessed = proof.witnessed.iter().map(|(name, seconds)| {
        format!("{name} saw this tree at {}, by its clock", utc(seconds.saturating_mul(1_000_000_000)))
    });
    first.into_iter().chain(signed).chain(witnessed).collect::<Vec<_>>().into_iter()
}

/// Messages of the life whose signature came to this.
fn count(proof: &Proof, is_so: fn(Signature) -> bool) -> usize {
    proof.story.life.iter().filter_map(|step| step.signature).filter(|of| is_so(*of)).count()
}

const fn is_valid(of: Signature) -> bool {
    matches!(of, Signature::Valid { .. })
}

fn not_proven(report: &Report, proof: &Proof) -> Vec<String> {
    let story = &proof.story;
    let mut open = Vec::new();
    if report.verdict == Verdict::Unanchored && proof.not_witnessed.is_empty() {
        open.push(
            "who signed it: give the log's public key, from elsewhere than the bundle, with --key".to_owned(),
        );
    }
    if !proof.signature_checked {
        open.push("the signature on the checkpoint: nothing here states a key".to_owned());
    }
    open.extend(
        proof
            .not_witnessed
            .iter()
            .map(|name| format!("that {name} saw it: it did not cosign this checkpoint")),
    );
    if story.pruned_before > 0 {
        let first = story.pruned_before;
        open.push(format!(
            "which log it is beyond its key: entries before {first} were pruned, the genesis with them"
        ));
    }
    let without = story.sessions_pruned.iter();
    open.extend(without.map(|id| format!("who opened session {id}: its beginning was pruned")));
    if story.sessions.iter().any(|session| session.chain.is_none()) {
        open.push(
            "the certificate chain: the bundle holds only the SHA-256 of the client's certificate".to_owned(),
        );
    }
    let unsigned = count(proof, |of| of == Signature::Unsigned);
    if unsigned > 0 {
        open.push(format!(
            "that the client sent the messages that are not signed ({unsigned}): the server alone says so"
        ));
    }
    let unchecked = count(proof, |of| matches!(of, Signature::NoCertificate | Signature::UnknownKey));
    if unchecked > 0 {
        open.push(format!("the signatures that are not checked ({unchecked}), for the reasons given there"));
    }
    if count(proof, is_valid) > 0 {
        open.push("whose key signed: check the chain of certificates against an authority that you know, as README.txt says".to_owned());
    }
    if !proof.other_signers.is_empty() {
        let names = proof.other_signers.join(", ");
        open.push(format!(
            "the further signatures on the checkpoint ({names}): give their keys with --witness"
        ));
    }
    let last = story.life.last().map_or(0, |step| step.seq);
    open.push(format!(
        "that nothing about the order follows entry {last}: whoever made the bundle could leave that out"
    ));
    open.push(
        "that the MAC is right: only client and server have its key; that the times are true".to_owned(),
    );
    open.push(
        "README.txt and the Python files: a forger could change them together with SHA256SUMS".to_owned(),
    );
    open
}

/// The report as one JSON object, on one line, without a newline.
#[must_use]
pub fn bundle_json(report: &Report) -> String {
    let proof = report.proof.as_ref().map(|proof| {
        let story = &proof.story;
        let life = story.life.iter().map(|step| {
            json!({
                "seq": step.seq, "utc_ns": step.utc_ns, "event": step.event, "what": step.what,
                "signature": step.signature.map(Signature::word),
            })
        });
        let sessions = story.sessions.iter().map(|session| {
            let chain = session.chain.map(|chain| {
                json!({"seq": chain.seq, "count": chain.count, "left_out": chain.left_out})
            });
            json!({
                "id": session.id, "connect": session.connect, "address": session.address,
                "certificate": session.certificate, "chain": chain,
            })
        });
        let clock = story.clock.each_ref().map(|word| {
            word.as_ref().map(|word| json!({"seq": word.seq, "state": word.state}))
        });
        json!({
            "origin": proof.origin, "log": story.log_id.map(|id| hex(&id)), "order": story.order,
            "principal": story.principal, "life": life.collect::<Vec<_>>(), "sessions": sessions.collect::<Vec<_>>(),
            "clock": clock, "size": proof.head.size, "root": hex(&proof.head.root), "entries": proof.entries,
            "pruned_before": story.pruned_before,
            "proven": proven(proof).collect::<Vec<_>>(), "not_proven": not_proven(report, proof),
        })
    });
    json!({
        "verdict": report.verdict.to_string(), "exit_code": report.verdict.exit_code(),
        "problem": report.problem, "proof": proof,
    })
    .to_string()
}
