//! `sealfeed-verify`: verifies a sealed log without the server. Same options, output and exit codes as `sealfeed audit verify`.

use std::io::Write as _;
use std::process::ExitCode;

use lexopt::{Arg, Parser, ValueExt as _};
use sealfeed_audit::tool::{Asked, AskedBundle, verify_and_print, verify_bundle_and_print};

const HELP: &str = "\
Verifies a sealed log, or a bundle about one order out of such a log.

Usage: sealfeed-verify [OPTIONS] DIRECTORY
       sealfeed-verify --bundle BUNDLE.tar [--key KEY] [--witness KEY]... [--json]

Anchors come from outside the log; without one the verdict is UNANCHORED.
      --key <KEY|FILE>          Public key of the log: its text, or a file that holds it (log.pub)
      --anchor <FILE>           A checkpoint kept elsewhere (a signed note); may be given several times
      --receipt <FILE>          A client's receipts: JSON, one a line; may be given several times
      --k0 <FILE>               The first epoch key, from compliance's safe (k0.hex): every seal is checked
      --expect-size <N>         The log must have at least this many entries
      --from-checkpoint <FILE>  A checkpoint kept elsewhere to start from: nothing before its segment is checked
      --tape <DIRECTORY>        The tape: that it reaches every link in the log, and that it is what they say
      --threads <N>             Threads, 1 to 256; by default as many as there are processors
      --bundle <FILE>           Verify this bundle (`sealfeed audit prove` makes them) instead of a log
      --witness <KEY|FILE>      With --bundle: a witness that must have cosigned; may be given several times
      --json                    Print one JSON object instead of text
  -h, --help                    Print this
  -V, --version                 Print the version

Exit codes: 0 VERIFIED, 1 RECOVERED, 20 TAMPERED, 21 TRUNCATED, 22 CORRUPT, 23 UNANCHORED, 24 FORK, 25 EPOCH GAP,
26 UNCLEAN; 2 usage, 66 no such log or bundle, 74 cannot be read.
";

/// What the command line asks for.
enum Command {
    Say(String),
    Verify(Asked),
    VerifyBundle(AskedBundle),
}

fn main() -> ExitCode {
    match parse(Parser::from_env()) {
        Ok(Command::Say(text)) => match std::io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(74),
        },
        Ok(Command::Verify(asked)) => ExitCode::from(verify_and_print("sealfeed-verify", &asked)),
        Ok(Command::VerifyBundle(asked)) => {
            ExitCode::from(verify_bundle_and_print("sealfeed-verify", &asked))
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "sealfeed-verify: error: {error}; --help lists the options");
            ExitCode::from(2)
        }
    }
}

fn parse(mut parser: Parser) -> Result<Command, lexopt::Error> {
    let mut asked = Asked::default();
    let (mut directory, mut bundle, mut witnesses, mut logs_only) = (None, None, Vec::new(), None);
    while let Some(argument) = parser.next()? {
        if let Arg::Long(
            name @ ("anchor" | "receipt" | "k0" | "expect-size" | "from-checkpoint" | "threads"),
        ) = argument
        {
            logs_only = Some(name.to_owned());
        }
        match argument {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Say(HELP.to_owned())),
            Arg::Short('V') | Arg::Long("version") => {
                return Ok(Command::Say(format!("sealfeed-verify {}\n", env!("CARGO_PKG_VERSION"))));
            }
            Arg::Long("key") => asked.key = Some(parser.value()?.string()?),
            Arg::Long("anchor") => asked.anchors.push(parser.value()?.into()),
            Arg::Long("receipt") => asked.receipts.push(parser.value()?.into()),
            Arg::Long("k0") => asked.k0 = Some(parser.value()?.into()),
            Arg::Long("expect-size") => asked.expect_size = Some(parser.value()?.parse()?),
            Arg::Long("from-checkpoint") => asked.from_checkpoint = Some(parser.value()?.into()),
            Arg::Long("tape") => asked.tape = Some(parser.value()?.into()),
            Arg::Long("threads") => {
                let threads = parser.value()?.parse()?;
                if !(1..=256).contains(&threads) {
                    return Err("--threads takes 1 to 256".into());
                }
                asked.threads = Some(threads);
            }
            Arg::Long("bundle") if bundle.is_none() => bundle = Some(parser.value()?.into()),
            Arg::Long("witness") => witnesses.push(parser.value()?.string()?),
            Arg::Long("json") => asked.json = true,
            Arg::Value(value) if directory.is_none() => directory = Some(value),
            other => return Err(other.unexpected()),
        }
    }
    if let Some(bundle) = bundle {
        if directory.is_some() {
            return Err("--bundle takes no directory".into());
        }
        return match logs_only {
            Some(name) => Err(format!("--{name} is for logs, not for --bundle").into()),
            None => {
                let Asked { key, json, .. } = asked;
                Ok(Command::VerifyBundle(AskedBundle { bundle, key, witnesses, json }))
            }
        };
    }
    if !witnesses.is_empty() {
        return Err("--witness goes with --bundle".into());
    }
    asked.directory = directory.ok_or("the log's directory is missing")?.into();
    Ok(Command::Verify(asked))
}
