//! Tokens of an identity provider beside certificates: real ones, signed here, against a server that watches their files.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sealfeed::clock::Clock;
use sealfeed::config::TokensConfig;
use sealfeed_client::wire::ident::Symbol;
use sealfeed_client::{
    Client as FeedClient, ClientConfig, ClientIdentity, FeedUrl, TokenSource, read_certificates,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Client, Ended, HttpAnswer, Identity, Logged, POLICY, Pki, Server, UPGRADE};

const ALICE: &str = "acme/alice";
const BOB: &str = "acme/bob";
const ISSUER: &str = "https://id.example";

/// An identity provider: its keys, and the files that it and the operator write.
struct Provider {
    keys: BTreeMap<&'static str, Ed25519KeyPair>,
    folder: TempDir,
}

impl Provider {
    fn new(names: &[&'static str]) -> Self {
        let keys = names.iter().map(|name| (*name, Ed25519KeyPair::generate().unwrap())).collect();
        let provider = Self { keys, folder: TempDir::new().unwrap() };
        provider.publish(&["a"]);
        provider.withdraw("");
        provider
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts the public keys of these names in place.
    fn publish(&self, names: &[&str]) {
        let keys: Vec<Value> = names
            .iter()
            .map(|name| {
                let point = text(self.keys[name].public_key().as_ref());
                json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": name, "x": point})
            })
            .collect();
        put(&self.path("jwks.json"), &json!({"keys": keys}).to_string());
    }

    /// Puts another file of withdrawn tokens in place.
    fn withdraw(&self, file: &str) {
        put(&self.path("withdrawn.toml"), file);
    }

    fn config(&self) -> TokensConfig {
        let mut config = TokensConfig::new(ISSUER, "feed", self.path("jwks.json"));
        config.withdrawn = Some(self.path("withdrawn.toml"));
        config
    }

    fn sign(&self, kid: &str, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", text(header.to_string()), text(claims.to_string()));
        format!("{signed}.{}", text(self.keys[kid].sign(signed.as_bytes()).as_ref()))
    }

    /// A token with these claims, by this key.
    fn issue(&self, kid: &str, claims: &Value) -> String {
        self.sign(kid, &json!({"alg": "EdDSA", "kid": kid, "typ": "JWT"}), claims)
    }
}

/// Puts a file in place of another in one step.
fn put(path: &Path, text: &str) {
    let next = path.with_extension("next");
    fs::write(&next, text).unwrap();
    fs::rename(&next, path).unwrap();
}

fn text(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn now_s() -> u64 {
    Clock::System.now().0 / 1_000_000_000
}

/// Claims that fit this client's certificate, good for `seconds`, with a `jti` of their own.
fn claims(who: &Identity, principal: &str, seconds: u64) -> Value {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let digest = sealfeed_audit::sha256(&who.chain[0]);
    json!({
        "iss": ISSUER, "aud": "feed", "sub": principal, "iat": now_s(), "exp": now_s() + seconds,
        "jti": format!("jti-{}", NEXT.fetch_add(1, Ordering::Relaxed)),
        "cnf": {"x5t#S256": text(digest)},
    })
}

/// A server that takes tokens, and whose log must not show any of them.
async fn start(provider: &Provider) -> Server {
    Server::with_policy(POLICY, |config| {
        config.tokens = Some(provider.config());
        config.server.watch_files = true;
        // Renewals that are refused are faults.
        config.limits.ban.closes_max = 0;
    })
    .await
}

fn bearer(server: &mut Server, token: &str) -> String {
    // The header is no secret; payload and signature are.
    server.secrets.extend(token.split('.').skip(1).filter(|part| part.len() > 20).map(str::to_owned));
    format!("Authorization: Bearer {token}\r\n")
}

async fn connect(server: &mut Server, who: &Identity, token: &str) -> Client {
    let header = bearer(server, token);
    server.connect_with(who, &header).await
}

async fn try_upgrade(server: &mut Server, who: &Identity, header: &str) -> (HttpAnswer, Logged) {
    let (answer, address) = server.http(who, format!("{UPGRADE}{header}\r\n")).await;
    let logged = server.logged("upgrade_refused", |event| event.text("address") == address).await;
    (answer, logged)
}

fn ended(code: &str) -> Ended {
    Ended { code: Some(4507), reason: code.to_owned() }
}

fn expires(claims: &Value) -> String {
    (claims["exp"].as_u64().unwrap() * 1_000_000_000).to_string()
}

async fn token_entry(server: &Server, what: &str, jti: &Value) -> Logged {
    server.logged("token", |event| event.text("what") == what && event.fields["jti"] == *jti).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_ones_own_certificate_lets_in_and_stands_in_the_trail_and_no_other_does() {
    let provider = Provider::new(&["a", "stranger"]);
    let mut server = start(&provider).await;
    let (alice, bob) = (Pki::get().client(ALICE), Pki::get().client(BOB));
    let own = claims(&alice, ALICE, 600);
    let mut session = connect(&mut server, &alice, &provider.issue("a", &own)).await;
    assert_eq!(session.welcome["token_expires"], expires(&own));
    let granted = token_entry(&server, "granted", &own["jti"]).await;
    assert_eq!((granted.text("principal"), granted.text("kid")), (ALICE, "a"));
    assert_eq!(granted.fields["expires"], json!(own["exp"].as_u64().unwrap() * 1_000_000_000));

    let changed = |name: &str, value: Value| {
        let mut claims = claims(&alice, ALICE, 600);
        claims[name] = value;
        provider.issue("a", &claims)
    };
    let stolen = provider.issue("a", &claims(&bob, BOB, 600));
    let of_nobody = provider.sign("a", &json!({"alg": "none", "kid": "a"}), &own);
    let forged = provider.sign("stranger", &json!({"alg": "EdDSA", "kid": "a"}), &own);
    for (token, code) in [
        (changed("exp", json!(now_s() - 1)), "SF-SES-055"),
        (changed("aud", json!("other")), "SF-SES-056"),
        (changed("sub", json!(BOB)), "SF-SES-057"),
        (stolen, "SF-SES-057"),
        (of_nobody, "SF-SES-052"),
        (provider.issue("stranger", &own), "SF-SES-053"),
        (forged, "SF-SES-054"),
        (changed("cnf", json!({})), "SF-SES-051"),
    ] {
        let header = bearer(&mut server, &token);
        let (answer, logged) = try_upgrade(&mut server, &alice, &header).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (401, Some(code)), "{answer:?}");
        let challenge = answer.header("www-authenticate");
        assert_eq!(challenge, Some("Bearer realm=\"sealfeed\", error=\"invalid_token\""));
        assert_eq!((logged.text("code"), logged.text("principal")), (code, ALICE));
    }
    let (answer, logged) = try_upgrade(&mut server, &alice, "").await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (401, Some("SF-SES-050")));
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"sealfeed\""));
    assert_eq!(logged.text("code"), "SF-SES-050");
    let (answer, _) = try_upgrade(&mut server, &alice, "Authorization: Basic YTpi\r\n").await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (401, Some("SF-SES-051")));
    session.goes_on().await;
    drop(session);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tokens_refuses_what_nobody_would_check() {
    let provider = Provider::new(&["a"]);
    let mut server = Server::start(|_| {}).await;
    let alice = Pki::get().client(ALICE);
    let header = bearer(&mut server, &provider.issue("a", &claims(&alice, ALICE, 600)));
    let (answer, logged) = try_upgrade(&mut server, &alice, &header).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (401, Some("SF-SES-056")));
    assert_eq!(logged.text("detail"), "this server takes no tokens");
    let mut session = server.connect(&alice).await;
    assert_eq!(session.welcome.get("token_expires"), None);
    let reply = session.request(json!({"op": "token.renew", "token": "a.b.c"})).await;
    assert_eq!(reply["code"], "SF-SES-056", "{reply}");
    session.goes_on().await;
    drop(session);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_its_token_and_a_renewed_one_goes_on() {
    let provider = Provider::new(&["a"]);
    let mut server = start(&provider).await;
    let (alice, bob) = (Pki::get().client(ALICE), Pki::get().client(BOB));
    let (of_alice, of_bob) = (claims(&alice, ALICE, 6), claims(&bob, BOB, 6));
    let mut first = connect(&mut server, &alice, &provider.issue("a", &of_alice)).await;
    let mut second = connect(&mut server, &bob, &provider.issue("a", &of_bob)).await;

    let wrong = provider.issue("a", &claims(&alice, ALICE, 600));
    for (token, code) in [(wrong.as_str(), "SF-SES-057"), ("a.b.c", "SF-SES-051")] {
        let reply = second.request(json!({"op": "token.renew", "token": token})).await;
        assert_eq!((reply["type"].as_str(), reply["code"].as_str()), (Some("error"), Some(code)), "{reply}");
        let reject = server.logged("reject", |event| event.text("code") == code).await;
        assert_eq!((reject.text("op"), reject.text("principal")), ("token.renew", BOB));
    }
    let next = claims(&bob, BOB, 600);
    let token = provider.issue("a", &next);
    bearer(&mut server, &token);
    let reply = second.request(json!({"op": "token.renew", "token": token})).await;
    assert_eq!(
        (reply["type"].as_str(), reply["token_expires"].as_str()),
        (Some("ok"), Some(&*expires(&next)))
    );
    let renewed = token_entry(&server, "renewed", &next["jti"]).await;
    assert_eq!(renewed.text("principal"), BOB);

    assert_eq!(first.ended().await.0, ended("SF-SES-055"));
    let entry = token_entry(&server, "ended", &of_alice["jti"]).await;
    assert_eq!((entry.text("principal"), entry.text("code")), (ALICE, "SF-SES-055"));
    // Its first token was over in the same second.
    second.goes_on().await;
    drop((first, second));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_withdrawn_ends_its_sessions_as_soon_as_the_file_lands() {
    let provider = Provider::new(&["a"]);
    let mut server = start(&provider).await;
    let (alice, bob) = (Pki::get().client(ALICE), Pki::get().client(BOB));
    let (of_alice, of_bob) = (claims(&alice, ALICE, 600), claims(&bob, BOB, 600));
    let token = provider.issue("a", &of_alice);
    let mut first = connect(&mut server, &alice, &token).await;
    let mut second = connect(&mut server, &bob, &provider.issue("a", &of_bob)).await;
    let jti = of_alice["jti"].as_str().unwrap();
    provider.withdraw(&format!("# today\n[[withdrawn]]\njti = \"{jti}\"\nreason = \"posted in a ticket\"\n"));
    assert_eq!(first.ended().await.0, ended("SF-SES-058"));
    let entry = token_entry(&server, "ended", &of_alice["jti"]).await;
    assert_eq!(entry.text("code"), "SF-SES-058");
    let detail = entry.text("detail");
    assert!(detail.contains("(line 2): posted in a ticket"), "{detail}");
    let header = bearer(&mut server, &token);
    let (answer, logged) = try_upgrade(&mut server, &alice, &header).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (401, Some("SF-SES-058")));
    assert!(logged.text("detail").contains(jti), "{}", logged.fields);
    second.goes_on().await;
    // A file that cannot be meant changes nothing, and is said so.
    provider.withdraw("[[withdrawn]]\nreason = \"x\"\n");
    let refused = server.logged("config", |event| event.text("what") == "reload_refused").await;
    assert!(refused.text("summary").contains("SF-CFG-033"), "{}", refused.fields);
    let (answer, _) = try_upgrade(&mut server, &alice, &header).await;
    assert_eq!(answer.json()["code"], "SF-SES-058");
    drop((first, second));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_rotated_by_a_change_of_their_file_and_the_one_that_leaves_takes_its_sessions_along() {
    let provider = Provider::new(&["a", "b"]);
    let mut server = start(&provider).await;
    let (alice, bob) = (Pki::get().client(ALICE), Pki::get().client(BOB));
    let of_alice = claims(&alice, ALICE, 600);
    let mut old = connect(&mut server, &alice, &provider.issue("a", &of_alice)).await;
    provider.publish(&["a", "b"]);
    let is_reload =
        |event: &Logged| event.text("what") == "reloaded" && event.text("summary").contains("tokens.jwks");
    server.logged("config", is_reload).await;
    let mut new = connect(&mut server, &bob, &provider.issue("b", &claims(&bob, BOB, 600))).await;
    old.goes_on().await;
    provider.publish(&["b"]);
    assert_eq!(old.ended().await.0, ended("SF-SES-053"));
    let entry = token_entry(&server, "ended", &of_alice["jti"]).await;
    assert!(entry.text("detail").contains("tokens.jwks"), "{}", entry.fields);
    new.goes_on().await;
    drop((old, new));
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_needs_no_token_is_let_in_without_and_a_wrong_one_is_refused_all_the_same() {
    let provider = Provider::new(&["a"]);
    let mut server = Server::with_policy(POLICY, |config| {
        let mut tokens = provider.config();
        tokens.required_for = vec!["beta".to_owned(), ALICE.to_owned()];
        config.tokens = Some(tokens);
    })
    .await;
    let (alice, bob) = (Pki::get().client(ALICE), Pki::get().client(BOB));
    let mut without = server.connect(&bob).await;
    let token = provider.issue("a", &claims(&bob, BOB, 600));
    bearer(&mut server, &token);
    let reply = without.request(json!({"op": "token.renew", "token": token})).await;
    assert_eq!(reply["code"], "SF-SES-050", "there is none to be renewed: {reply}");
    without.goes_on().await;
    let (answer, _) = try_upgrade(&mut server, &alice, "").await;
    assert_eq!(answer.json()["code"], "SF-SES-050");
    let header = bearer(&mut server, &provider.issue("a", &claims(&alice, ALICE, 600)));
    let (answer, _) = try_upgrade(&mut server, &bob, &header).await;
    assert_eq!(answer.json()["code"], "SF-SES-057");
    drop(without);
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_renews_its_token_before_the_old_one_ends() {
    let provider = Provider::new(&["a"]);
    let mut server = start(&provider).await;
    let (alice, folder) = (Pki::get().client(ALICE), TempDir::new().unwrap());
    let (first, next) = (claims(&alice, ALICE, 6), claims(&alice, ALICE, 600));
    let tokens = [provider.issue("a", &first), provider.issue("a", &next)];
    for token in &tokens {
        bearer(&mut server, token);
    }
    let file = folder.path().join("token");
    put(&file, &tokens[0]);

    let identity =
        ClientIdentity { chain: alice.chain.clone(), key: alice.key.as_ref().unwrap().clone_key() };
    let url = format!("wss://localhost:{}/v1/feed", server.address.port());
    let roots = read_certificates(&Pki::get().server_authorities()).unwrap();
    let mut config = ClientConfig::new(FeedUrl::parse(&url).unwrap(), roots, Some(identity));
    config.token = Some(TokenSource::File(file.clone()));
    let client = FeedClient::connect_with(&config).await.unwrap();
    assert_eq!(client.welcome().token_expires.unwrap().to_string(), expires(&first));
    put(&file, &format!("{}\n", tokens[1]));
    token_entry(&server, "renewed", &next["jti"]).await;

    // A token that has ended is no token, and its source is asked again for the next connection.
    config.token = Some(TokenSource::function(|| Err(io::Error::other("the provider is away"))));
    let error = FeedClient::connect_with(&config).await.unwrap_err();
    assert!(!format!("{error:?}").contains(&tokens[1]), "{error:?}");
    let symbols = [Symbol::new("SEAL").unwrap()];
    let subscribe = sealfeed_client::subscription(sealfeed_client::wire::Channel::Trades, symbols);
    client.subscribe(subscribe).await.unwrap();
    client.close().await;
    server.finish().await;
}
