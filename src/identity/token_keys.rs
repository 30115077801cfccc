//! Public keys of the issuer of tokens: a JSON Web Key Set (RFC 7517), read strictly.
//!
//! Keys of kinds that are not used here, and keys for encryption, are passed over, as RFC 7517 section 5 wants. What must not stand in
//! the file at all is refused: a private or a symmetric key, a key that nobody can name, a weak one.

use std::collections::HashMap;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::error::IdentityError;
use super::files::Contents;
use super::token::{NAME_BYTES_MAX, escaped};
use super::token_jwt;
use crate::config::TokenAlgorithm;

/// Most keys of one set.
const KEYS_MAX: usize = 64;
/// Most bytes of the file.
const FILE_BYTES_MAX: usize = 1024 * 1024;
/// Bits of an RSA modulus.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;
/// Members that only a private or a symmetric key has.
const SECRET: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Keys by `kid`.
pub(super) struct TokenKeys(HashMap<Box<str>, TokenKey>);

/// One key.
pub(super) struct TokenKey {
    material: Material,
    /// Of an RSA key that is for one of the two algorithms only.
    only_for: Option<TokenAlgorithm>,
    /// SHA-256 of what it is: tells a key from another one under the same name.
    pub(super) digest: [u8; 32],
}

enum Material {
    Ed25519(ParsedPublicKey),
    P256(ParsedPublicKey),
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
}

impl TokenKeys {
    /// Checks all of the file.
    pub(super) fn parse(contents: &Contents, algorithms: &[TokenAlgorithm]) -> Result<Self, IdentityError> {
        let refuse = |what: String| IdentityError::TokenKeys { what };
        if contents.bytes.len() > FILE_BYTES_MAX {
            return Err(refuse(format!(
                "the file has {} bytes, at most 1048576 are read",
                contents.bytes.len()
            )));
        }
        let set = token_jwt::object(&contents.bytes).map_err(|what| refuse(what.to_owned()))?;
        let Some(Value::Array(list)) = set.get("keys") else {
            return Err(refuse("the list `keys` is missing".to_owned()));
        };
        if list.len() > KEYS_MAX {
            return Err(refuse(format!("{} keys, at most {KEYS_MAX} are allowed", list.len())));
        }
        let mut keys = HashMap::new();
        for (index, value) in list.iter().enumerate() {
            let at = |what: &str| refuse(format!("key {}: {what}", index + 1));
            let Value::Object(jwk) = value else { return Err(at("it is no object")) };
            let Some((key_id, key)) = read(jwk).map_err(at)? else { continue };
            if keys.insert(key_id.into(), key).is_some() {
                return Err(at(&format!("another one has kid {} too", escaped(key_id))));
            }
        }
        let is_used = |key: &TokenKey| algorithms.iter().any(|algorithm| key.is_for(*algorithm));
        if !keys.values().any(is_used) {
            return Err(refuse("no key is for any of tokens.algorithms".to_owned()));
        }
        Ok(Self(keys))
    }

    pub(super) fn find(&self, key_id: &str) -> Option<&TokenKey> {
        self.0.get(key_id)
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

impl TokenKey {
    /// Whether it signs by this algorithm.
    pub(super) fn is_for(&self, algorithm: TokenAlgorithm) -> bool {
        let is_of_its_kind = matches!(
            (&self.material, algorithm),
            (Material::Ed25519(_), TokenAlgorithm::EdDsa)
                | (Material::P256(_), TokenAlgorithm::Es256)
                | (Material::Rsa(_), TokenAlgorithm::Rs256 | TokenAlgorithm::Ps256)
        );
        is_of_its_kind && self.only_for.is_none_or(|only| only == algorithm)
    }

    /// Whether it made the signature.
    pub(super) fn verifies(&self, algorithm: TokenAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        match (&self.material, algorithm) {
            (Material::Ed25519(key), TokenAlgorithm::EdDsa)
            | (Material::P256(key), TokenAlgorithm::Es256) => key.verify_sig(message, signature).is_ok(),
            (Material::Rsa(key), TokenAlgorithm::Rs256) => {
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
            (Material::Rsa(key), TokenAlgorithm::Ps256) => {
                key.verify(&RSA_PSS_2048_8192_SHA256, message, signature).is_ok()
            }
            _ => false,
        }
    }
}

/// Name and key; `None` for a key that is for something else.
fn read(jwk: &Map<String, Value>) -> Result<Option<(&str, TokenKey)>, &'static str> {
    let text = |name: &str| match jwk.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err("a member is no text"),
    };
    let kind = text("kty")?.ok_or("kty is missing")?;
    if kind == "oct" || SECRET.iter().any(|name| jwk.contains_key(*name)) {
        return Err("it is a private or a symmetric key, and must not stand here");
    }
    let verifies = match jwk.get("key_ops") {
        None => true,
        Some(Value::Array(operations)) => operations.iter().any(|operation| operation == "verify"),
        Some(_) => return Err("key_ops is no list"),
    };
    if text("use")?.is_some_and(|purpose| purpose != "sig") || !verifies {
        return Ok(None);
    }
    let bytes = |name: &str| {
        let text = text(name)?.ok_or("a member of the key is missing")?;
        URL_SAFE_NO_PAD.decode(text).map_err(|_| "a member of the key is not base64url without padding")
    };
    let coordinate = |name: &str| {
        let bytes = bytes(name)?;
        if bytes.len() == 32 { Ok(bytes) } else { Err("a member of the key is not 32 bytes") }
    };
    let (material, shape, kinds): (_, _, &[TokenAlgorithm]) = match (kind, text("crv")?) {
        ("OKP", Some("Ed25519")) => {
            let point = coordinate("x")?;
            let key = ParsedPublicKey::new(&ED25519, &point).map_err(|_| "it is no point of Ed25519")?;
            (Material::Ed25519(key), point, &[TokenAlgorithm::EdDsa])
        }
        ("EC", Some("P-256")) => {
            let point = [vec![4], coordinate("x")?, coordinate("y")?].concat();
            let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point);
            (Material::P256(key.map_err(|_| "it is no point of P-256")?), point, &[TokenAlgorithm::Es256])
        }
        ("RSA", None) => {
            let (modulus, exponent) = (bytes("n")?, bytes("e")?);
            let bits = (modulus.len() * 8)
                .saturating_sub(modulus.first().map_or(8, |byte| byte.leading_zeros() as usize));
            if modulus.first() == Some(&0) || !RSA_BITS.contains(&bits) {
                return Err("an RSA modulus must have 2048 to 8192 bits, without leading zeros");
            }
            let is_exponent = exponent.len() <= 4
                && exponent.first().is_some_and(|byte| *byte != 0)
                && exponent.last().is_some_and(|byte| byte % 2 == 1)
                && exponent != [1];
            if !is_exponent {
                return Err("an RSA exponent must be odd, above 1, and at most four bytes");
            }
            let shape = [&modulus[..], &exponent[..]].concat();
            let key = RsaPublicKeyComponents { n: modulus, e: exponent };
            (Material::Rsa(key), shape, &[TokenAlgorithm::Rs256, TokenAlgorithm::Ps256])
        }
        _ => return Ok(None),
    };
    let only_for = match text("alg")? {
        None => None,
        Some(name) => match kinds.iter().find(|algorithm| algorithm.as_str() == name) {
            Some(algorithm) => Some(*algorithm),
            None => return Ok(None),
        },
    };
    let key_id = text("kid")?.filter(|key_id| (1..=NAME_BYTES_MAX).contains(&key_id.len()));
    let key_id = key_id.ok_or("kid must be a text of 1 to 128 bytes")?;
    let digest = Sha256::new().chain_update(kind).chain_update([0]).chain_update(&shape).finalize().into();
    Ok(Some((key_id, TokenKey { material, only_for, digest })))
}
