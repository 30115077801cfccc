//! `sealfeed explain CODE`: what an error code, a close code, an exit code or a TLS alert means, where it appears and what to do. Offline.

mod tables;

use std::process::ExitCode;

use clap::Args;
use sealfeed_wire::{Area, CloseCode, Code, Reconnect, Retry};
use serde_json::{Value, json};

use super::alert::{ALERTS, Alert, of_number};
use tables::{ALL_EXITS, Exit, appears};

/// Arguments of `explain`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples: sealfeed explain SF-ORD-002, ord-2, 4501 (a close code), certificate_revoked (a TLS alert), 70 (an \
    exit code); `exit 3`, `close 1009`, `alert 48` where a number alone could mean something else."
)]
pub(super) struct ExplainArgs {
    /// The code, with or without `SF-`, in any case; every code when absent.
    #[arg(num_args = 0..=2)]
    code: Vec<String>,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// What one code means.
#[derive(Debug, PartialEq, Eq)]
struct Explanation {
    kind: &'static str,
    name: String,
    message: String,
    explain: String,
    /// Where it is met, a line each.
    appears: Vec<String>,
    retry: String,
    hint: String,
}

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    One(Box<Explanation>),
    /// It could be any of these.
    Several(Vec<String>),
    Nothing,
}

pub(super) fn run(arguments: &ExplainArgs) -> ExitCode {
    if arguments.code.is_empty() {
        return list(arguments.json);
    }
    let wanted = arguments.code.join(" ");
    match find(&wanted) {
        Found::One(explanation) if arguments.json => {
            anstream::println!("{}", explanation.value());
            ExitCode::SUCCESS
        }
        Found::One(explanation) => {
            anstream::print!("{}", explanation.text());
            ExitCode::SUCCESS
        }
        Found::Several(names) => {
            anstream::eprintln!("sealfeed: error: {wanted:?} could be {}", names.join(", "));
            anstream::eprintln!("sealfeed: hint: name one of them");
            ExitCode::from(2)
        }
        Found::Nothing => {
            anstream::eprintln!("sealfeed: error: there is no code {wanted:?}");
            anstream::eprintln!("sealfeed: hint: `sealfeed explain` lists every code");
            ExitCode::from(2)
        }
    }
}

fn list(is_json: bool) -> ExitCode {
    if is_json {
        let codes: Vec<Value> = Code::all().map(|code| of_code(code).value()).collect();
        anstream::println!("{}", Value::from(codes));
    } else {
        for code in Code::all() {
            anstream::println!("{code}  {}", code.message());
        }
    }
    ExitCode::SUCCESS
}

/// Looks a code up as people type it.
fn find(wanted: &str) -> Found {
    let text = wanted.trim().to_ascii_lowercase().replace([' ', '_'], "-");
    let one = |explanation| Found::One(Box::new(explanation));
    if let Some(code) = error_code(&text) {
        return one(of_code(code));
    }
    if let Some(alert) = ALERTS.iter().find(|alert| alert.name.replace('_', "-") == text) {
        return one(of_alert(alert));
    }
    let (kind, number) = match text.rsplit_once('-') {
        Some(("", _)) => return Found::Nothing,
        Some(parts) => parts,
        None => ("", text.as_str()),
    };
    let digits = number.len();
    let Ok(number) = number.parse::<u16>() else { return Found::Nothing };
    let close = || CloseCode::from_number(number).map(of_close);
    let exit = || ALL_EXITS.iter().find(|exit| u16::from(exit.number) == number).map(of_exit);
    let found = match kind {
        "close" => close(),
        "exit" => exit(),
        "alert" => u8::try_from(number).ok().and_then(of_number).map(of_alert),
        // Numbers of codes have three digits, close codes four, exit codes one or two.
        "" if digits == 3 => return of_digits(number),
        "" if digits <= 2 => exit(),
        "" => close(),
        _ => None,
    };
    found.map_or(Found::Nothing, one)
}

/// `sf-ord-002`, `ord-002`, `ord-2`, `ord2`.
fn error_code(text: &str) -> Option<Code> {
    let text = text.strip_prefix("sf-").unwrap_or(text);
    let (area, number) = text.split_at_checked(3)?;
    let number = number.strip_prefix('-').unwrap_or(number);
    let is_number = (1..=3).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| Code::parse(&format!("SF-{}-{number:0>3}", area.to_ascii_uppercase())))?
}

fn of_digits(number: u16) -> Found {
    let codes: Vec<Code> = Code::all().filter(|code| code.number() % 1_000 == number).collect();
    match codes[..] {
        [] => Found::Nothing,
        [code] => Found::One(Box::new(of_code(code))),
        _ => Found::Several(codes.iter().map(ToString::to_string).collect()),
    }
}

fn of_code(code: Code) -> Explanation {
    let retry = match (code.area(), code.retry()) {
        (Area::Cfg | Area::Aud, Retry::Later) => "It can go away by itself.",
        (_, Retry::Later) => "The same request can succeed later.",
        (_, Retry::Never) => "Sending the same again will not help.",
    };
    Explanation {
        kind: "error code",
        name: code.to_string(),
        message: code.message().to_owned(),
        explain: code.explain().to_owned(),
        appears: appears(code),
        retry: retry.to_owned(),
        hint: code.hint().to_owned(),
    }
}

fn of_close(close: CloseCode) -> Explanation {
    let causes: Vec<String> = Code::all()
        .filter(|code| code.close_code() == Some(close))
        .map(|code| format!("{code}: {}", code.message()))
        .collect();
    let explain = if causes.is_empty() {
        "The session ended so by itself, without an error code behind it.".to_owned()
    } else {
        format!("The session ended for one of these reasons:\n  {}", causes.join("\n  "))
    };
    let (retry, hint) = match close.reconnect() {
        Reconnect::Yes => (
            "Connecting again can succeed.",
            "Connect again, with a growing pause, and resume the subscriptions.",
        ),
        Reconnect::No => (
            "Connecting again by itself will not help.",
            "Do not connect again by itself: look up the code in the close reason, and change what it names.",
        ),
    };
    let number = close.number();
    Explanation {
        kind: "close code",
        name: number.to_string(),
        message: close.name().to_owned(),
        explain,
        appears: vec![
            "in the close frame, whose reason is the error code where there is one".to_owned(),
            format!(
                "in the sealed log as `close_code` of the entry `disconnect`, and as sealfeed_disconnects_total{{close_code=\"{number}\"}}"
            ),
        ],
        retry: retry.to_owned(),
        hint: hint.to_owned(),
    }
}

fn of_exit(exit: &Exit) -> Explanation {
    Explanation {
        kind: "exit code",
        name: exit.number.to_string(),
        message: exit.message.to_owned(),
        explain: exit.explain.to_owned(),
        appears: vec!["as the exit code of the program (echo $?)".to_owned()],
        retry: if exit.may_pass {
            "The same command can succeed later."
        } else {
            "The same command will end so again."
        }
        .to_owned(),
        hint: exit.hint.to_owned(),
    }
}

fn of_alert(alert: &Alert) -> Explanation {
    let codes: Vec<String> = alert.codes.iter().map(|code| format!("{code}: {}", code.message())).collect();
    Explanation {
        kind: "TLS alert",
        name: format!("{} ({})", alert.name, alert.number),
        message: alert.meaning.to_owned(),
        explain: format!(
            "The server refused the handshake. Its log has the code, likely one of these:\n  {}",
            codes.join("\n  ")
        ),
        appears: vec![
            "as a TLS alert, in TLS 1.3 behind the client's Finished: only who reads on sees it".to_owned(),
            "in the sealed log as an entry `handshake_refused` with the code and the address".to_owned(),
        ],
        retry: "Connecting again the same way will not help.".to_owned(),
        hint: alert.fix.to_owned(),
    }
}

impl Explanation {
    fn text(&self) -> String {
        let Self { name, message, explain, retry, hint, .. } = self;
        let mut text = format!("{name}: {message}\n\n{explain}\n\n");
        for line in &self.appears {
            text += &format!("It appears {line}.\n");
        }
        text + &format!("\n{retry} {hint}\n")
    }

    fn value(&self) -> Value {
        let Self { kind, name, message, explain, appears, retry, hint } = self;
        json!({
            "kind": kind, "code": name, "message": message, "explain": explain, "appears": appears, "retry": retry, "hint": hint,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wanted: &str) -> String {
        match find(wanted) {
            Found::One(explanation) => explanation.name,
            Found::Several(names) => names.join("|"),
            Found::Nothing => String::new(),
        }
    }

    #[test]
    fn a_code_is_found_as_people_type_it() {
        for text in ["SF-ORD-002", "sf-ord-002", "ORD-002", "ord-2", "ord2", " Sf-Ord-2 "] {
            assert_eq!(check(text), "SF-ORD-002", "{text}");
        }
        assert_eq!(check("4501"), "4501");
        assert_eq!(check("close 1009"), "1009");
        assert_eq!(check("70"), "70");
        assert_eq!(check("exit 3"), "3");
        assert_eq!(check("certificate_revoked"), "certificate_revoked (44)");
        assert_eq!(check("Unknown CA"), "unknown_ca (48)");
        assert_eq!(check("alert 48"), "unknown_ca (48)");
        let alike =
            |code: Code| Code::all().filter(|other| other.number() % 1_000 == code.number() % 1_000).count();
        let alone = Code::all().find(|code| alike(*code) == 1).unwrap();
        assert_eq!(
            check(&format!("{:03}", alone.number() % 1_000)),
            alone.as_str(),
            "no other area has that number"
        );
        assert!(check("001").starts_with("SF-TLS-001|SF-SES-001|"));
        for none in ["", "SF-ORD-999", "ord", "4999", "99", "close 3", "alert 255", "ord-0002", "é12", "-1"]
        {
            assert_eq!(check(none), "", "{none:?}");
        }
    }

    #[test]
    fn everything_that_can_be_asked_for_has_every_field_and_no_text_is_a_placeholder() {
        let codes = Code::all().map(of_code);
        let closes = CloseCode::ALL.iter().map(|code| of_close(*code));
        let others = ALERTS.iter().map(of_alert).chain(ALL_EXITS.iter().map(of_exit));
        let mut asked = 0;
        for explanation in codes.chain(closes).chain(others) {
            asked += 1;
            let Explanation { name, message, explain, appears, retry, hint, .. } = &explanation;
            let texts = [message, explain, retry, hint];
            for text in texts.into_iter().chain(appears) {
                assert!(text.len() >= 4 && text.trim() == text, "{name}: {text:?}");
                let lower = text.to_ascii_lowercase();
                for word in ["todo", "tbd", "fixme", "xxx", "lorem", "placeholder", "unknown error", "..."] {
                    assert!(!lower.contains(word), "{name}: {text:?}");
                }
            }
            assert!(!appears.is_empty() && hint.ends_with('.') && retry.ends_with('.'), "{name}");
            assert!(explain.len() >= 40, "{name}: {explain}");
            assert!(explanation.text().contains(name.as_str()));
        }
        assert!(asked > 200, "{asked}");
    }
}
