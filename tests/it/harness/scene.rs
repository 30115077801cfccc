//! A server with a bystander: a session that goes on, and misses nothing, whatever is done to the server.

use std::ops::Deref;

use sealfeed::config::Config;
use serde_json::{Value, json};

use super::log::Logged;
use super::{Client, POLICY, Pki, Server};

/// The principal of the bystander.
pub(crate) const BYSTANDER: &str = "acme/carol";

/// A server under attack.
pub(crate) struct Scene {
    server: Server,
    bystander: Client,
    /// The last sequence number the bystander has of its stream.
    seq: Option<u64>,
}

impl Deref for Scene {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Scene {
    /// As [`Server::start`], with the bystander connected and subscribed to `bbo` of `SEAL`.
    pub(crate) async fn start(change: impl FnOnce(&mut Config)) -> Self {
        Self::with_policy(POLICY, change).await
    }

    /// As [`Scene::start`], under another policy, which must let the bystander read `bbo` of `SEAL`.
    pub(crate) async fn with_policy(policy: &str, change: impl FnOnce(&mut Config)) -> Self {
        let server = Server::with_policy(policy, change).await;
        let mut bystander = server.connect(&Pki::get().client(BYSTANDER)).await;
        let request = json!({"op": "subscribe", "channel": "bbo", "symbols": ["SEAL"]});
        let reply = bystander.request(request).await;
        let seq = reply["symbols"]["SEAL"]["seq"].as_u64();
        assert!(seq.is_some(), "{reply}");
        Self { server, bystander, seq: None }
    }

    /// Asserts that the bystander's session lives and that its stream has no gap.
    pub(crate) async fn bystander_is_unharmed(&mut self) {
        let id = self.bystander.fresh_id();
        self.bystander.send(json!({"op": "ping", "id": id}).to_string()).await;
        loop {
            let message = self.bystander.message().await;
            match message["type"].as_str() {
                Some("pong") => break assert_eq!(message["id"], id),
                Some("bbo") => self.take(&message),
                Some("heartbeat") => {}
                _ => panic!("the bystander was sent {message}"),
            }
        }
    }

    fn take(&mut self, message: &Value) {
        if let Some(seq) = self.seq {
            // The present state comes with the sequence number that the stream had: it may stand there twice.
            let previous = message["prev_seq"].as_u64();
            assert!(
                previous == Some(seq) || previous.is_none(),
                "the bystander's stream has a gap: {message}"
            );
        }
        self.seq = message["seq"].as_u64();
    }

    /// The bystander's own session, for tests of what ends every session.
    pub(crate) const fn bystander(&mut self) -> &mut Client {
        &mut self.bystander
    }

    /// Asserts that the bystander is unharmed, stops the server, verifies its log and returns it.
    /// The figures, too, have to say what the log says.
    pub(crate) async fn end(mut self) -> Vec<Logged> {
        self.bystander_is_unharmed().await;
        self.server.figures_say_what_the_log_says().await;
        self.stop().await
    }

    /// As [`Scene::end`], for servers whose bystander was sent away.
    pub(crate) async fn stop(self) -> Vec<Logged> {
        let Self { server, bystander, .. } = self;
        // A session that is not read would hold the stop up until its close frame is given up.
        bystander.leave();
        server.finish().await.0
    }
}
