//! Tokens that are accepted, and every way in which one is not.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::test_pki::{NOW, NOW_S, TestPki, client_params, issue};
use super::{FileRole, Identified, Identity, Token};
use crate::clock::Clock;
use crate::config::{TokenAlgorithm, TokensConfig};
use crate::types::{Code, TimeArithmetic, UnixNanos};

/// The keys of an issuer.
struct Issuer {
    ed25519: Ed25519KeyPair,
    p256: EcdsaKeyPair,
    rsa: RsaKeyPair,
}

static ISSUER: LazyLock<Issuer> = LazyLock::new(Issuer::new);
static STRANGER: LazyLock<Issuer> = LazyLock::new(Issuer::new);

#[derive(Clone, Copy)]
enum By {
    Ed25519,
    P256,
    Rs256,
    Ps256,
}

fn text(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Issuer {
    fn new() -> Self {
        Self {
            ed25519: Ed25519KeyPair::generate().unwrap(),
            p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
        }
    }

    fn jwks(&self) -> Value {
        let point = self.p256.public_key().as_ref();
        // PKCS #1: a sequence of the modulus, behind nine bytes for a key of 2048 bits, and the exponent 65537.
        let modulus = &self.rsa.public_key().as_ref()[9..265];
        json!({"keys": [
            {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "use": "sig", "x": text(self.ed25519.public_key().as_ref())},
            {"kty": "EC", "crv": "P-256", "kid": "ec", "x": text(&point[1..33]), "y": text(&point[33..65])},
            {"kty": "RSA", "kid": "rsa", "key_ops": ["verify"], "n": text(modulus), "e": "AQAB"},
            {"kty": "RSA", "kid": "pss", "alg": "PS256", "n": text(modulus), "e": "AQAB"},
            {"kty": "RSA", "kid": "encrypts", "use": "enc", "n": text(modulus), "e": "AQAB"},
            {"kty": "EC", "crv": "P-384", "kid": "other", "x": "AA", "y": "AA"},
        ]})
    }

    fn sign(&self, by: By, message: &str) -> Vec<u8> {
        let (message, random) = (message.as_bytes(), SystemRandom::new());
        let mut signature = vec![0; 256];
        match by {
            By::Ed25519 => return self.ed25519.sign(message).as_ref().to_vec(),
            By::P256 => return self.p256.sign(&random, message).unwrap().as_ref().to_vec(),
            By::Rs256 => self.rsa.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap(),
            By::Ps256 => self.rsa.sign(&RSA_PSS_SHA256, &random, message, &mut signature).unwrap(),
        }
        signature
    }

    fn issue(&self, by: By, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", text(header), text(claims));
        let signature = text(self.sign(by, &signed));
        format!("{signed}.{signature}")
    }
}

/// Everything that a test needs.
struct Site {
    pki: TestPki,
    config: TokensConfig,
    client: Identified,
}

impl Site {
    fn new() -> Self {
        let pki = TestPki::new();
        pki.write("jwks.json", &ISSUER.jwks().to_string());
        pki.write("withdrawn.toml", "");
        let mut config = TokensConfig::new("https://id.example", "feed", pki.path("jwks.json"));
        config.algorithms =
            vec![TokenAlgorithm::EdDsa, TokenAlgorithm::Es256, TokenAlgorithm::Rs256, TokenAlgorithm::Ps256];
        config.withdrawn = Some(pki.path("withdrawn.toml"));
        let leaf = issue(&client_params(), &pki.clients);
        let client = pki.load().unwrap().identify(&[leaf.certificate], NOW).unwrap();
        Self { pki, config, client }
    }

    fn load(&self) -> Identity {
        self.try_load().unwrap()
    }

    fn try_load(&self) -> Result<Identity, super::IdentityError> {
        Identity::load(&self.pki.tls(), &self.pki.identity(), Some(&self.config), Clock::manual(NOW))
    }

    fn claims(&self) -> Value {
        json!({
            "iss": "https://id.example", "aud": "feed", "sub": "acme/desk7", "jti": "t-1",
            "iat": NOW_S - 10, "nbf": NOW_S - 10, "exp": NOW_S + 600,
            "cnf": {"x5t#S256": text(self.client.fingerprint)},
        })
    }

    /// The claims with changes: members to be set, or removed where they are null.
    fn with(&self, changes: &Value) -> String {
        let mut claims = self.claims();
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        claims.to_string()
    }

    fn token(&self, changes: &Value) -> String {
        ISSUER.issue(By::Ed25519, HEADER, &self.with(changes))
    }
}

const HEADER: &str = r#"{"alg":"EdDSA","kid":"ed","typ":"JWT"}"#;

fn admitted(identity: &Identity, site: &Site, token: &str) -> Token {
    identity.admit_token(Some(token), &site.client, NOW).unwrap().unwrap()
}

fn refused(identity: &Identity, site: &Site, token: &str) -> Code {
    let refusal = identity.admit_token(Some(token), &site.client, NOW).expect_err(token);
    let payload = token.split('.').nth(1).unwrap_or("none").to_owned();
    assert!(payload.len() < 8 || !refusal.to_string().contains(&payload), "{refusal}");
    refusal.code
}

#[test]
fn a_token_of_each_algorithm_is_accepted_and_says_until_when() {
    let site = Site::new();
    let identity = site.load();
    for (by, header) in [
        (By::Ed25519, HEADER),
        (By::Ed25519, r#"{"alg":"EdDSA","kid":"ed"}"#),
        (By::P256, r#"{"alg":"ES256","kid":"ec","typ":"at+jwt","x5t":"unread"}"#),
        (By::Rs256, r#"{"alg":"RS256","kid":"rsa","typ":"jwt"}"#),
        (By::Ps256, r#"{"alg":"PS256","kid":"rsa"}"#),
        (By::Ps256, r#"{"alg":"PS256","kid":"pss"}"#),
    ] {
        let token = admitted(&identity, &site, &ISSUER.issue(by, header, &site.with(&json!({}))));
        assert_eq!(token.expires, NOW.plus_ns(600_000_000_000), "{header}");
        assert_eq!(token.id(), "t-1");
    }
    for changes in [
        json!({"sub": null}),
        json!({"nbf": null}),
        json!({"aud": ["feed"]}),
        json!({"iat": NOW_S + 30, "nbf": NOW_S + 30}),
        json!({"exp": NOW_S + 1}),
        json!({"iat": NOW_S - 10, "exp": NOW_S + 86_390}),
        json!({"sealfeed_roles": ["admin"], "scope": {"a": [1, -1, 1.5, null, true]}}),
    ] {
        admitted(&identity, &site, &site.token(&changes));
    }
}

#[test]
fn every_wrong_claim_has_its_code() {
    use Code::{
        SesTokenMalformed as Malformed, SesTokenNotForHere as NotHere, SesTokenNotYours as NotYours,
        SesTokenOutOfTime as Time,
    };
    let site = Site::new();
    let identity = site.load();
    let other_certificate = json!({"x5t#S256": text([7; 32])});
    let jkt = json!({"x5t#S256": text(site.client.fingerprint), "jkt": "x"});
    let padded = json!({"x5t#S256": URL_SAFE.encode(site.client.fingerprint)});
    let short = json!({"x5t#S256": text([7; 31])});
    for (changes, code) in [
        (json!({"iss": "https://other.example"}), NotHere),
        (json!({"iss": "https://id.example/"}), NotHere),
        (json!({"iss": null}), Malformed),
        (json!({"iss": 7}), Malformed),
        (json!({"aud": "other"}), NotHere),
        (json!({"aud": ["feed", "other"]}), Malformed),
        (json!({"aud": []}), Malformed),
        (json!({"aud": null}), Malformed),
        (json!({"sub": "acme/desk8"}), NotYours),
        (json!({"sub": "ACME/desk7"}), NotYours),
        (json!({"sub": ""}), Malformed),
        (json!({"jti": null}), Malformed),
        (json!({"jti": "x".repeat(129)}), Malformed),
        (json!({"exp": null}), Malformed),
        (json!({"exp": NOW_S}), Time),
        (json!({"exp": NOW_S - 5}), Time),
        (json!({"exp": (NOW_S + 600).to_string()}), Malformed),
        (json!({"exp": 1_790_000_600.5}), Malformed),
        (json!({"exp": -1}), Malformed),
        (json!({"exp": u64::MAX}), Malformed),
        (json!({"exp": NOW_S + 86_391}), Time),
        (json!({"iat": null}), Malformed),
        (json!({"iat": NOW_S + 31}), Time),
        (json!({"iat": NOW_S + 20, "exp": NOW_S + 10}), Time),
        (json!({"nbf": NOW_S + 31}), Time),
        (json!({"nbf": "now"}), Malformed),
        (json!({"cnf": null}), Malformed),
        (json!({"cnf": {}}), Malformed),
        (json!({"cnf": {"x5t": text([7; 20])}}), Malformed),
        (json!({"cnf": jkt}), Malformed),
        (json!({"cnf": padded}), Malformed),
        (json!({"cnf": short}), Malformed),
        (json!({"cnf": other_certificate}), NotYours),
    ] {
        assert_eq!(refused(&identity, &site, &site.token(&changes)), code, "{changes}");
    }
}

#[test]
fn every_wrong_header_and_every_wrong_form_of_the_claims_has_its_code() {
    use Code::{
        SesTokenAlgorithmRefused as Algorithm, SesTokenKeyUnknown as Key, SesTokenMalformed as Malformed,
        SesTokenSignatureInvalid as Signature,
    };
    let site = Site::new();
    let identity = site.load();
    let claims = site.with(&json!({}));
    let twice = claims.replacen('{', "{\"aud\":\"feed\",", 1);
    let deep = claims.replacen('{', "{\"x\":[{\"a\":1,\"a\":2}],", 1);
    let trailing = format!("{claims} {{}}");
    for (by, header, claims, code) in [
        (By::Ed25519, r#"{"alg":"none","kid":"ed"}"#, &claims, Algorithm),
        (By::Ed25519, r#"{"alg":"HS256","kid":"ed"}"#, &claims, Algorithm),
        (By::Ed25519, r#"{"alg":"eddsa","kid":"ed"}"#, &claims, Algorithm),
        (By::Ed25519, r#"{"alg":"ES256","kid":"ed"}"#, &claims, Algorithm),
        (By::Rs256, r#"{"alg":"RS256","kid":"pss"}"#, &claims, Algorithm),
        (By::Ed25519, r#"{"kid":"ed"}"#, &claims, Malformed),
        (By::Ed25519, r#"{"alg":["EdDSA"],"kid":"ed"}"#, &claims, Malformed),
        (By::Ed25519, r#"{"alg":"EdDSA"}"#, &claims, Key),
        (By::Ed25519, r#"{"alg":"EdDSA","kid":"Ed"}"#, &claims, Key),
        (By::Ed25519, r#"{"alg":"EdDSA","kid":"encrypts"}"#, &claims, Key),
        (By::Ed25519, r#"{"alg":"EdDSA","kid":""}"#, &claims, Malformed),
        (By::Ed25519, r#"{"alg":"EdDSA","kid":"ed","crit":["x"],"x":1}"#, &claims, Malformed),
        (By::Ed25519, r#"{"alg":"EdDSA","kid":"ed","b64":false}"#, &claims, Malformed),
        (By::Ed25519, r#"{"alg":"EdDSA","kid":"ed","jwk":{}}"#, &claims, Malformed),
        (By::Ed25519, r#"{"alg":"EdDSA","kid":"ed","jku":"https://evil.example"}"#, &claims, Malformed),
        (By::Ed25519, r#"{"alg":"EdDSA","kid":"ed","typ":"dpop+jwt"}"#, &claims, Malformed),
        (By::Ed25519, r#"{"alg":"EdDSA","kid":"ed","kid":"ed"}"#, &claims, Malformed),
        (By::Ed25519, r#"["EdDSA"]"#, &claims, Malformed),
        (By::Ed25519, HEADER, &twice, Malformed),
        (By::Ed25519, HEADER, &deep, Malformed),
        (By::Ed25519, HEADER, &trailing, Malformed),
        (By::Ed25519, HEADER, &"[]".to_owned(), Malformed),
        (By::P256, HEADER, &claims, Signature),
        (By::Rs256, r#"{"alg":"PS256","kid":"rsa"}"#, &claims, Signature),
    ] {
        assert_eq!(refused(&identity, &site, &ISSUER.issue(by, header, claims)), code, "{header} {claims}");
    }
}

#[test]
fn every_wrong_form_of_a_token_has_its_code() {
    use Code::{SesTokenMalformed as Malformed, SesTokenSignatureInvalid as Signature};
    let site = Site::new();
    let identity = site.load();
    let claims = site.with(&json!({}));
    let good = site.token(&json!({}));
    let parts: Vec<&str> = good.split('.').collect();
    let [header, payload, signature] = parts[..] else { panic!("{good}") };
    let forged = text(site.with(&json!({"exp": NOW_S + 601})));
    for (token, code) in [
        (STRANGER.issue(By::Ed25519, HEADER, &claims), Signature),
        (format!("{header}.{forged}.{signature}"), Signature),
        (format!("{header}.{payload}."), Signature),
        (format!("{header}.{payload}"), Malformed),
        (format!("{good}.x"), Malformed),
        (format!("{header}.{payload}.{signature}="), Malformed),
        (format!(" {good}"), Malformed),
        (format!("{good}\n"), Malformed),
        (String::new(), Malformed),
        ("x".repeat(4_097), Malformed),
        (site.token(&json!({"pad": "x".repeat(3_200)})), Malformed),
    ] {
        assert_eq!(refused(&identity, &site, &token), code, "{token}");
    }
}

#[test]
fn what_a_refusal_says_of_a_token_is_escaped_and_cut() {
    let site = Site::new();
    let identity = site.load();
    let hostile = format!("a\u{1b}[31m\n{}", "\u{e4}".repeat(50));
    let token = site.token(&json!({"jti": hostile, "aud": "other"}));
    let detail = identity.admit_token(Some(&token), &site.client, NOW).unwrap_err().detail;
    assert!(detail.starts_with(r"kid ed jti a\u{1b}[31m\n\u{e4}"), "{detail}");
    assert!(detail.is_ascii() && detail.len() < 500 && !detail.contains('\n'), "{detail}");
}

#[test]
fn who_needs_a_token_is_refused_without_one_and_others_are_not() {
    let mut site = Site::new();
    for (patterns, is_required) in [
        (vec!["*"], true),
        (vec!["acme"], true),
        (vec!["ac*"], true),
        (vec!["acme/*"], true),
        (vec!["beta", "acme/desk7"], true),
        (vec![], false),
        (vec!["acm", "beta/*", "acme/desk8", "desk7"], false),
    ] {
        site.config.required_for = patterns.iter().map(ToString::to_string).collect();
        let identity = site.load();
        let admitted = identity.admit_token(None, &site.client, NOW);
        match admitted {
            Ok(token) => assert!(token.is_none() && !is_required, "{patterns:?}"),
            Err(refusal) => assert!(is_required && refusal.code == Code::SesTokenMissing, "{patterns:?}"),
        }
        // One that is there is checked all the same.
        assert_eq!(refused(&identity, &site, "x.y.z"), Code::SesTokenMalformed);
    }
    let off = site.pki.load().unwrap();
    assert_eq!(off.admit_token(None, &site.client, NOW), Ok(None));
    assert_eq!(refused(&off, &site, &site.token(&json!({}))), Code::SesTokenNotForHere);
}

#[test]
fn a_renewal_is_of_the_same_certificate_and_subject() {
    let site = Site::new();
    let identity = site.load();
    let before = admitted(&identity, &site, &site.token(&json!({})));
    let renew = |before: Option<&Token>, changes: &Value| {
        identity.renew_token(before, &site.token(changes), &site.client, NOW).map_err(|refusal| refusal.code)
    };
    let after = renew(Some(&before), &json!({"jti": "t-2", "exp": NOW_S + 900})).unwrap();
    assert_eq!((after.id(), after.expires), ("t-2".to_owned(), NOW.plus_ns(900_000_000_000)));
    assert_eq!(renew(Some(&before), &json!({"sub": null})), Err(Code::SesTokenNotYours));
    let other = json!({"cnf": {"x5t#S256": text([7; 32])}});
    assert_eq!(renew(Some(&before), &other), Err(Code::SesTokenNotYours));
    assert_eq!(renew(Some(&before), &json!({"exp": NOW_S - 1})), Err(Code::SesTokenOutOfTime));
    assert_eq!(renew(None, &json!({})), Err(Code::SesTokenMissing));
}

#[test]
fn an_open_session_is_held_to_what_is_in_force_now() {
    let mut site = Site::new();
    let identity = site.load();
    let token = admitted(&identity, &site, &site.token(&json!({})));
    let holds = |identity: &Identity, token: Option<&Token>, now: UnixNanos| {
        identity.token_holds(token, &site.client, now).map_err(|(code, _)| code)
    };
    assert_eq!(holds(&identity, Some(&token), NOW), Ok(()));
    assert_eq!(holds(&identity, Some(&token), token.expires), Err(Code::SesTokenOutOfTime));
    assert_eq!(holds(&identity, None, NOW), Err(Code::SesTokenMissing));
    let off = site.pki.load().unwrap();
    assert_eq!(holds(&off, Some(&token), NOW), Err(Code::SesTokenNotForHere));
    assert_eq!(holds(&off, None, NOW), Ok(()));

    // Another key under the same name is another key.
    site.pki.write("jwks.json", &STRANGER.jwks().to_string());
    let changes = identity.reload(NOW).unwrap();
    assert_eq!(changes.changed, [FileRole::TokenKeys]);
    assert_eq!(holds(&identity, Some(&token), NOW), Err(Code::SesTokenKeyUnknown));
    site.pki.write("jwks.json", &ISSUER.jwks().to_string());
    for (withdrawn, expected) in [
        ("[[withdrawn]]\njti = \"t-1\"\nreason = \"lost\"\n", Err(Code::SesTokenWithdrawn)),
        ("[[withdrawn]]\njti = \"t-2\"\nreason = \"lost\"\n", Ok(())),
        // Issued at 2026-09-21T14:13:10Z.
        (
            "[[withdrawn]]\nsub = \"acme/desk7\"\nbefore = 2026-09-21T16:13:11+02:00\nreason = \"x\"\n",
            Err(Code::SesTokenWithdrawn),
        ),
        ("[[withdrawn]]\nsub = \"acme/desk7\"\nbefore = 2026-09-21T14:13:10Z\nreason = \"x\"\n", Ok(())),
        ("[[withdrawn]]\nsub = \"acme/desk8\"\nbefore = 2027-01-01T00:00:00Z\nreason = \"x\"\n", Ok(())),
    ] {
        site.pki.write("withdrawn.toml", withdrawn);
        identity.reload(NOW).unwrap();
        assert_eq!(holds(&identity, Some(&token), NOW), expected, "{withdrawn}");
        let again = identity.admit_token(Some(&site.token(&json!({}))), &site.client, NOW);
        assert_eq!(again.map(drop).map_err(|refusal| refusal.code), expected, "{withdrawn}");
    }
    for change in [
        |config: &mut TokensConfig| config.audience = "other".to_owned(),
        |config: &mut TokensConfig| config.algorithms = vec![TokenAlgorithm::Es256],
    ] {
        let mut config = site.config.clone();
        change(&mut config);
        identity.reconfigure(&site.pki.tls(), &site.pki.identity(), Some(&config), NOW).unwrap();
        let expected = if config.audience == "other" {
            Code::SesTokenNotForHere
        } else {
            Code::SesTokenAlgorithmRefused
        };
        assert_eq!(holds(&identity, Some(&token), NOW), Err(expected));
    }
    site.config.withdrawn = None;
    assert!(site.load().in_force().summary.contains("tokens of https://id.example by 4 keys; "));
}

#[test]
fn keys_that_cannot_be_meant_are_refused_as_a_whole() {
    let site = Site::new();
    let jwks = ISSUER.jwks();
    let [ed, ec, rsa] = [0, 1, 2].map(|place: usize| jwks["keys"][place].clone());
    let with = |key: &Value, name: &str, value: Value| {
        let mut key = key.clone();
        match value {
            Value::Null => drop(key.as_object_mut().unwrap().remove(name)),
            value => key[name] = value,
        }
        json!({"keys": [key]}).to_string()
    };
    for wrong in [
        "{}".to_owned(),
        "[]".to_owned(),
        "{\"keys\": {}}".to_owned(),
        "{\"keys\": []}".to_owned(),
        "{\"keys\": [], \"keys\": []}".to_owned(),
        "{\"keys\": [7]}".to_owned(),
        json!({"keys": [ed, ed]}).to_string(),
        json!({"keys": [ed, {"kty": "oct", "kid": "k", "k": "c2VjcmV0"}]}).to_string(),
        json!({"keys": vec![json!({"kty": "x"}); 65]}).to_string(),
        with(&ed, "d", json!("c2VjcmV0")),
        with(&ed, "kid", Value::Null),
        with(&ed, "kid", json!("")),
        with(&ed, "kty", Value::Null),
        with(&ed, "x", json!("AAAA")),
        with(&ed, "x", json!(text([7; 33]))),
        with(&ed, "use", json!("enc")),
        with(&ed, "alg", json!("ES256")),
        with(&ed, "key_ops", json!(["sign"])),
        with(&ec, "y", json!(text([7; 32]))),
        with(&rsa, "n", json!(text([0xff; 255]))),
        with(&rsa, "n", json!(text([vec![0x7f], vec![0xff; 255]].concat()))),
        with(&rsa, "n", json!(text([vec![0], vec![0xff; 256]].concat()))),
        with(&rsa, "e", json!("AQ")),
        with(&rsa, "e", json!("AQAA")),
        format!("{}{}", " ".repeat(1024 * 1024), jwks),
    ] {
        site.pki.write("jwks.json", &wrong);
        let error = site.try_load().map(drop).expect_err(&wrong);
        assert_eq!(error.code(), Code::CfgTokenKeysUnusable, "{wrong}");
        assert!(!format!("{error:?}").contains("c2VjcmV0"), "{error:?}");
    }
    std::fs::remove_file(site.pki.path("jwks.json")).unwrap();
    assert_eq!(site.try_load().map(drop).unwrap_err().code(), Code::CfgFileUnreadable);
}

#[test]
fn a_file_of_withdrawn_tokens_that_cannot_be_meant_is_refused_with_its_line() {
    let site = Site::new();
    let good = "# list\n[[withdrawn]]\njti = \"t-9\"\nreason = \"x\"\n";
    for wrong in [
        "reason = \"x\"",
        "jti = \"\"\nreason = \"x\"",
        "jti = \"t\"\nreason = \"\"",
        "jti = \"t\"\nsub = \"a/b\"\nbefore = 2026-01-01T00:00:00Z\nreason = \"x\"",
        "jti = \"t\"\nbefore = 2026-01-01T00:00:00Z\nreason = \"x\"",
        "sub = \"a/b\"\nreason = \"x\"",
        "sub = \"a/*\"\nbefore = 2026-01-01T00:00:00Z\nreason = \"x\"",
        "sub = \"a/b\"\nbefore = 2026-01-01\nreason = \"x\"",
        "sub = \"a/b\"\nbefore = 2026-01-01T00:00:00\nreason = \"x\"",
        "sub = \"a/b\"\nbefore = 1969-01-01T00:00:00Z\nreason = \"x\"",
    ] {
        site.pki.write("withdrawn.toml", &format!("{good}[[withdrawn]]\n{wrong}\n"));
        let error = site.try_load().map(drop).expect_err(wrong);
        assert_eq!(error.code(), Code::CfgWithdrawnTokensUnusable, "{wrong}");
        assert!(error.to_string().contains("line 5"), "{wrong}: {error}");
    }
    for wrong in ["withdrawn = 1", "[[deny]]\n", "[[withdrawn]]\njti = \"t\"\nreason = \"x\"\nuntil = 1"] {
        site.pki.write("withdrawn.toml", wrong);
        assert_eq!(
            site.try_load().map(drop).unwrap_err().code(),
            Code::CfgWithdrawnTokensUnusable,
            "{wrong}"
        );
    }
    site.pki.write("withdrawn.toml", include_str!("../../docs/examples/withdrawn-tokens.toml"));
    site.load();
}
