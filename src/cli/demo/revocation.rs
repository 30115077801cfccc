//! Carol's certificate is revoked while she watches.

use anyhow::bail;
use sealfeed_client::{Client, ConnectError, Event, subscription};
use sealfeed_wire::{Channel, Symbol};

use super::market::next;
use super::setup::{SYMBOL, Stage};
use super::steps::Steps;

pub(super) async fn revoke(stage: &Stage, steps: &mut Steps) -> anyhow::Result<()> {
    let carol = stage.connect("carol").await?;
    carol.subscribe(subscription(Channel::Trades, [Symbol::new(SYMBOL)?])).await?;
    while !matches!(next(&carol).await?, Event::Market(_)) {}

    stage.place.pki(&["revoke", "acme/carol", "--reason", "keyCompromise"])?;
    stage.server.reload().await?;
    let code = loop {
        match carol.next_event().await {
            Ok(Event::Closed(closed)) => break closed.code,
            Ok(_) => {}
            Err(closed) => break closed.code,
        }
    };
    let came = code.map_or_else(|| "no close frame".to_owned(), |code| format!("closed with {code}"));
    steps.equal("carol's certificate is revoked while she watches", "closed with 4501", came);

    let came = match Client::connect_with(&stage.client_config("carol")?).await {
        Err(ConnectError::CertificateRefused { refusal, .. }) => Ok(format!("a TLS alert: {refusal}")),
        Err(error) => Err(error.to_string()),
        Ok(_) => bail!("a revoked certificate was let in"),
    };
    steps.step("carol comes back", "refused by TLS", &came);
    Ok(())
}
