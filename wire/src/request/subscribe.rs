//! The fields of `subscribe` and `unsubscribe`.

use super::{
    CHANNEL, CONFLATE_MS, DEPTH, Envelope, NAMES, ON_SLOW, RESUME, Refusal, ResumePoint, SYMBOLS, Subscribe,
    Symbols, Unsubscribe, need, need_text,
};
use crate::code::Code;
use crate::ident::Symbol;
use crate::object::{Fields, Keys, Value, printable};
use crate::term::{Channel, Conflation, Depth, OnSlow, UnknownTerm};
use crate::value::{Epoch, Sequence};

pub(super) fn subscribe(fields: &Envelope<'_>) -> Result<Subscribe, Refusal> {
    let (channel, symbols) = streams(fields)?;
    let depth = number::<Depth>(fields, DEPTH, Code::SubDepthInvalid)?;
    let conflate_ms = number::<Conflation>(fields, CONFLATE_MS, Code::SubConflationInvalid)?;
    let on_slow = match fields.get(ON_SLOW) {
        None => None,
        Some(_) => {
            let invalid = |_| Refusal::new(Code::SesFieldValueInvalid, "on_slow");
            Some(OnSlow::parse(need_text(fields, ON_SLOW)?).map_err(invalid)?)
        }
    };
    if depth.is_some() && channel != Channel::Book {
        return Err(Refusal::new(Code::SubOptionNotApplicable, "depth"));
    }
    if conflate_ms.is_some() && !matches!(channel, Channel::Bbo | Channel::Book) {
        return Err(Refusal::new(Code::SubOptionNotApplicable, "conflate_ms"));
    }
    let resume = match fields.get(RESUME) {
        None => Vec::new(),
        Some(value) => resume(value, channel, &symbols)?,
    };
    Ok(Subscribe { channel, symbols, depth, conflate_ms, on_slow, resume })
}

pub(super) fn unsubscribe(fields: &Envelope<'_>) -> Result<Unsubscribe, Refusal> {
    let (channel, symbols) = streams(fields)?;
    Ok(Unsubscribe { channel, symbols })
}

fn streams(fields: &Envelope<'_>) -> Result<(Channel, Symbols), Refusal> {
    let channel = need_text(fields, CHANNEL)?;
    let channel = Channel::parse(channel)
        .map_err(|UnknownTerm| Refusal::new(Code::SubChannelUnknown, printable(channel)))?;
    let symbols = symbols(need(fields, SYMBOLS)?)?;
    if channel.is_private() && symbols != Symbols::All {
        return Err(Refusal::new(Code::SubPrivateWildcardOnly, "symbols"));
    }
    Ok((channel, symbols))
}

fn symbols(value: &Value<'_>) -> Result<Symbols, Refusal> {
    let wrong_type = || Refusal::new(Code::SesFieldTypeWrong, "symbols");
    let values = value.list().ok_or_else(wrong_type)?;
    let mut list = Vec::with_capacity(values.len());
    let mut has_star = false;
    for value in &values {
        let text = value.text().ok_or_else(wrong_type)?;
        if text == "*" {
            has_star = true;
        } else {
            let malformed = |_| Refusal::new(Code::SubSymbolMalformed, printable(text));
            list.push(Symbol::new(text).map_err(malformed)?);
        }
    }
    if has_star && values.len() == 1 {
        return Ok(Symbols::All);
    }
    let mut sorted = list.clone();
    sorted.sort_unstable();
    let repeats = sorted.windows(2).any(|pair| pair[0] == pair[1]);
    if has_star || repeats || list.is_empty() {
        return Err(Refusal::new(Code::SubSymbolsInvalid, "symbols"));
    }
    Ok(Symbols::List(list))
}

fn number<T: TryFrom<u16>>(fields: &Envelope<'_>, index: usize, invalid: Code) -> Result<Option<T>, Refusal> {
    let Some(value) = fields.get(index) else { return Ok(None) };
    if !matches!(value, Value::Integer(_) | Value::OtherNumber) {
        return Err(Refusal::new(Code::SesFieldTypeWrong, NAMES[index]));
    }
    let number = value.integer().and_then(|number| u16::try_from(number).ok());
    let known = number.and_then(|number| T::try_from(number).ok());
    known.map(Some).ok_or_else(|| Refusal::new(invalid, NAMES[index]))
}

type Resume = Vec<(Option<Symbol>, ResumePoint)>;

fn resume(value: &Value<'_>, channel: Channel, symbols: &Symbols) -> Result<Resume, Refusal> {
    let wrong_type = || Refusal::new(Code::SesFieldTypeWrong, "resume");
    let entries = value.entries().ok_or_else(wrong_type)?;
    let mut points: Resume = Vec::with_capacity(entries.len());
    let mut listed: Vec<Symbol> = match symbols {
        Symbols::All => Vec::new(),
        Symbols::List(list) => list.clone(),
    };
    listed.sort_unstable();
    for (name, value) in entries {
        let invalid = || Refusal::new(Code::SubResumeInvalid, printable(&name));
        let symbol = if channel.is_private() && name == "*" {
            None
        } else {
            Some(Symbol::new(&name).map_err(|_| invalid())?)
        };
        let fits = match (symbols, symbol) {
            (Symbols::All, None) => true,
            (Symbols::All, Some(_)) => !channel.is_private(),
            (Symbols::List(_), Some(symbol)) => listed.binary_search(&symbol).is_ok(),
            (Symbols::List(_), None) => false,
        };
        if !fits {
            return Err(invalid());
        }
        points.push((symbol, resume_point(&value).ok_or_else(invalid)?));
    }
    let mut names: Vec<Option<Symbol>> = points.iter().map(|(symbol, _)| *symbol).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Refusal::new(Code::SesKeyDuplicate, "resume"));
    }
    Ok(points)
}

fn resume_point(value: &Value<'_>) -> Option<ResumePoint> {
    fn place(key: &str) -> Option<usize> {
        ["epoch", "seq"].iter().position(|name| *name == key)
    }
    let fields = Fields::<2>::read(value.object()?, Keys { place, raw: 0, long: 0 });
    if fields.fault.is_some() {
        return None;
    }
    let epoch = Epoch::parse(fields.get(0)?.plain_text()?).ok()?;
    let seq = Sequence::new(u64::try_from(fields.get(1)?.integer()?).ok()?)?;
    Some(ResumePoint { epoch, seq })
}
