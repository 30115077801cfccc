//! Strict reading of a signed JSON Web Token: compact form (RFC 7515 section 7.1), header, claims.
//!
//! One reading of every token: no key twice at any depth, no padding, no bits to spare, no extension that is critical, no key that the
//! token brings along, and times that are whole seconds. The claims are read only once the signature has verified.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sealfeed_wire::Code;
use sealfeed_wire::request::TOKEN_BYTES_MAX;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::token::{NAME_BYTES_MAX, TokenRefusal};

/// Most bytes of `iss`, `aud` and `sub`.
const TEXT_BYTES_MAX: usize = 512;
/// Latest second that a time in nanoseconds can say.
const SECONDS_MAX: u64 = u64::MAX / 1_000_000_000;
/// Members of a header that would change what is signed, or bring the key along; and that of an encrypted or nested token.
const HEADER_REFUSED: [&str; 9] = ["crit", "b64", "jwk", "jku", "x5u", "x5c", "enc", "zip", "cty"];

/// A token whose signature is still to be verified.
pub(super) struct Jwt<'a> {
    pub(super) algorithm: String,
    pub(super) key_id: String,
    /// What is signed.
    pub(super) signed: &'a str,
    pub(super) signature: Vec<u8>,
    /// Not to be read before.
    pub(super) payload: Vec<u8>,
}

/// The claims of a token.
pub(super) struct Claims {
    pub(super) issuer: String,
    pub(super) audience: String,
    pub(super) subject: Option<String>,
    pub(super) id: String,
    /// Seconds since the Unix epoch.
    pub(super) expires: u64,
    pub(super) issued: u64,
    pub(super) not_before: Option<u64>,
    /// SHA-256 of the certificate that it is bound to.
    pub(super) certificate: [u8; 32],
}

impl<'a> Jwt<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, TokenRefusal> {
        let malformed = |what: &str| TokenRefusal::new(Code::SesTokenMalformed, what);
        if text.len() > TOKEN_BYTES_MAX {
            return Err(malformed("it is longer than 4096 bytes"));
        }
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed("it is not three parts with dots between them"));
        };
        let signed = &text[..header.len() + 1 + payload.len()];
        let decode = |part: &str| {
            URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed("a part is not base64url without padding"))
        };
        let (header, payload, signature) = (decode(header)?, decode(payload)?, decode(signature)?);
        let header = object(&header).map_err(|what| malformed(&format!("header: {what}")))?;
        if HEADER_REFUSED.iter().any(|name| header.contains_key(*name)) {
            return Err(malformed(
                "header: it has crit, a key of its own, or another form than a signed JWT",
            ));
        }
        let is_jwt = |kind: &str| kind.eq_ignore_ascii_case("JWT") || kind.eq_ignore_ascii_case("at+jwt");
        match header.get("typ") {
            None => {}
            Some(Value::String(kind)) if is_jwt(kind) => {}
            Some(_) => return Err(malformed("header: typ is neither JWT nor at+jwt")),
        }
        let text_of = |name: &str| header.get(name).map(|value| value.as_str().map(str::to_owned));
        let Some(Some(algorithm)) = text_of("alg") else {
            return Err(malformed("header: alg is missing or no text"));
        };
        let key_id = match text_of("kid") {
            Some(Some(key_id)) if (1..=NAME_BYTES_MAX).contains(&key_id.len()) => key_id,
            Some(_) => return Err(malformed("header: kid is no text of 1 to 128 bytes")),
            None => return Err(TokenRefusal::new(Code::SesTokenKeyUnknown, "it names no kid")),
        };
        Ok(Self { algorithm, key_id, signed, signature, payload })
    }
}

/// Reads the claims.
pub(super) fn claims(payload: &[u8]) -> Result<Claims, &'static str> {
    let claims = object(payload)?;
    let text = |name: &str, bytes_max: usize| match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if (1..=bytes_max).contains(&text.len()) => Ok(Some(text.clone())),
        Some(_) => Err(()),
    };
    let seconds = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_u64().filter(|seconds| *seconds <= SECONDS_MAX).map(Some).ok_or(()),
    };
    let issuer = text("iss", TEXT_BYTES_MAX).ok().flatten().ok_or("iss is missing or no text")?;
    let audience = match claims.get("aud") {
        Some(Value::String(audience)) => audience.clone(),
        Some(Value::Array(list)) => match &list[..] {
            [Value::String(audience)] => audience.clone(),
            _ => return Err("aud names several, or none"),
        },
        _ => return Err("aud is missing or no text"),
    };
    let subject = text("sub", TEXT_BYTES_MAX).map_err(|()| "sub is no text")?;
    let id = text("jti", NAME_BYTES_MAX).ok().flatten().ok_or("jti is no text of 1 to 128 bytes")?;
    let expires = seconds("exp").ok().flatten().ok_or("exp is missing or no whole second")?;
    let issued = seconds("iat").ok().flatten().ok_or("iat is missing or no whole second")?;
    let not_before = seconds("nbf").map_err(|()| "nbf is no whole second")?;
    let certificate =
        confirmation(claims.get("cnf")).ok_or("cnf is not just x5t#S256 with the base64url of 32 bytes")?;
    Ok(Claims { issuer, audience, subject, id, expires, issued, not_before, certificate })
}

/// RFC 8705 section 3.1. Another method beside it would go unchecked.
fn confirmation(claim: Option<&Value>) -> Option<[u8; 32]> {
    let methods = claim?.as_object().filter(|methods| methods.len() == 1)?;
    URL_SAFE_NO_PAD.decode(methods.get("x5t#S256")?.as_str()?).ok()?.try_into().ok()
}

/// One JSON object in which no key stands twice, at any depth.
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, &'static str> {
    match serde_json::from_slice(bytes) {
        Ok(Unique(Value::Object(members))) => Ok(members),
        Ok(Unique(_)) => Err("it is no JSON object"),
        Err(_) => Err("it is no JSON, or has a key twice"),
    }
}

struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Unique(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            let Unique(value) = members.next_value()?;
            if map.insert(key, value).is_some() {
                return Err(A::Error::custom("a key twice"));
            }
        }
        Ok(Value::Object(map))
    }
}
