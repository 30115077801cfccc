//! What every command that signs shares: with what it signs, and showing what would be signed instead of sending it.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use sealfeed_client::{Client, RequestError, clock, random_nonce};
use sealfeed_wire::signing::signing_string;
use sealfeed_wire::{ProofDemand, SignedOp, base64url, hex};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::context::{ConnectArgs, Problem, Target};
use super::plain::plain_lines;

/// Arguments of every command that signs.
#[derive(Debug, Args)]
pub(super) struct SigningArgs {
    /// Connect and sign, print the exact bytes signed, their SHA-256, MAC and signature, and send nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Sign with the order key (mac), the certificate's own key (sig), or both [default: what the server demands].
    #[arg(long, value_name = "PROOF")]
    sign: Option<ProofDemand>,
    /// How to print; a table on a terminal, one JSON line in a pipe.
    #[arg(long, value_enum, default_value = "auto")]
    pub(super) output: Output,
    #[command(flatten)]
    connection: ConnectArgs,
}

impl SigningArgs {
    /// Which server and certificate, and with what to sign.
    pub(super) fn target(&self) -> Result<Target, Problem> {
        let target = self.connection.target()?;
        Ok(match self.sign {
            Some(proof) => target.signing_with(proof),
            None => target,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    Auto,
    Table,
    Json,
}

impl Output {
    pub(super) fn is_json(self) -> bool {
        match self {
            Self::Auto => !std::io::stdout().is_terminal(),
            Self::Table => false,
            Self::Json => true,
        }
    }
}

/// Signs a request as it would be sent now, and prints all that went into it.
pub(super) fn dry_run(
    client: &Client,
    op: SignedOp,
    body: &str,
    output: Output,
) -> Result<ExitCode, Problem> {
    let problem = |error| Problem::of_request(&error);
    let signer = client.signer().ok_or(RequestError::OrderKeyMissing).map_err(problem)?;
    let (ts, nonce) = (clock::system_time(), random_nonce().map_err(problem)?);
    let signed = signing_string(client.session(), &ts.to_string(), &nonce.to_string(), op, body);
    let proof = signer.proof(op, ts, nonce, body).map_err(problem)?;
    let message = sealfeed_wire::request::encode_signed(None, op, ts, nonce, proof, body);
    let digest: [u8; 32] = Sha256::digest(signed.as_bytes()).into();
    let (sha256, mac) = (hex::encode(&digest), proof.mac.map(|mac| hex::encode(&mac)));
    let sig = proof.sig.map(|sig| base64url::encode(&sig));
    if output.is_json() {
        let shown = json!({
            "outcome": "not_sent", "signed": signed, "sha256": sha256, "mac": mac, "sig": sig, "message": message,
        });
        print(&shown.to_string())?;
    } else {
        let bytes = signed.len();
        let mut text =
            format!("signed bytes ({bytes}, no line feed at the end):\n{signed}\n\nsha256: {sha256}\n");
        for (name, value) in [("mac", mac), ("sig", sig)] {
            if let Some(value) = value {
                text += &format!("{name}:    {value}\n");
            }
        }
        print(&format!("{text}\nmessage:\n{message}\n\nnothing was sent"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints to standard output; a reader who left is no failure.
pub(super) fn print(text: &str) -> Result<(), Problem> {
    match writeln!(anstream::stdout(), "{}", plain_lines(text)) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Problem::of_error(&error)),
        Ok(()) | Err(_) => Ok(()),
    }
}
