//! `sealfeed explain CODE`: the long text of an error code, offline.

use std::process::ExitCode;

use clap::Args;
use sealfeed_wire::{Code, Retry};

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The code, such as SF-ORD-002; every code when absent.
    code: Option<String>,
}

pub(super) fn run(arguments: &ExplainArgs) -> ExitCode {
    let Some(wanted) = &arguments.code else {
        for code in Code::all() {
            anstream::println!("{code}  {}", code.message());
        }
        return ExitCode::SUCCESS;
    };
    match Code::all().find(|code| code.as_str().eq_ignore_ascii_case(wanted)) {
        Some(code) => {
            let retry = match code.retry() {
                Retry::Later => "The same request can succeed later.",
                Retry::Never => "Sending the same again will not help.",
            };
            anstream::println!("{code}: {}\n\n{}\n\n{retry} {}", code.message(), code.explain(), code.hint());
            ExitCode::SUCCESS
        }
        None => {
            anstream::eprintln!("sealfeed: error: there is no code {wanted:?}");
            anstream::eprintln!("sealfeed: hint: `sealfeed explain` lists every code");
            ExitCode::from(2)
        }
    }
}
