//! What every client command shares: which server and which certificate, and how it says that something failed.
//!
//! A context is named by `--context` or `$SEALFEED_CONTEXT`, or replaced by `--url --cert --key --cacert`. A
//! failure is told in four lines on standard error (what, where, fix, code) and as an exit code.

mod problem;

use std::path::PathBuf;

use clap::Args;
use sealfeed_client::{Client, ClientConfig, ConfigError, Context, Protocol, UrlError};
use sealfeed_wire::ProofDemand;

pub(super) use problem::{
    EXIT_CANNOT_CONNECT, EXIT_FAILED, EXIT_NOT_ENTITLED, EXIT_ORDER_REJECTED, EXIT_ORDER_UNKNOWN, EXIT_USAGE,
    Problem, refusal_exit,
};

/// Environment variable that names a context file.
const CONTEXT_VARIABLE: &str = "SEALFEED_CONTEXT";

/// Where to connect and as whom.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct ConnectArgs {
    /// Context file, as the PKI script writes it beside a certificate [default: the one that `SEALFEED_CONTEXT` names].
    #[arg(long, value_name = "FILE", conflicts_with_all = ["url", "cert", "key", "cacert", "order_key", "token_file"])]
    context: Option<PathBuf>,
    /// Address of the feed, wss://HOST:PORT/v1/feed, instead of a context.
    #[arg(long, value_name = "URL", requires_all = ["cert", "key", "cacert"])]
    url: Option<String>,
    /// Client certificate and its chain, PEM.
    #[arg(long, value_name = "FILE", requires = "url")]
    cert: Option<PathBuf>,
    /// Private key of the certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "url")]
    key: Option<PathBuf>,
    /// CA certificates that may vouch for the server, PEM.
    #[arg(long, value_name = "FILE", requires = "url")]
    cacert: Option<PathBuf>,
    /// Order key, needed to place and cancel orders.
    #[arg(long, value_name = "FILE", requires = "url")]
    order_key: Option<PathBuf>,
    /// File with a token of the identity provider, where the server wants one.
    #[arg(long, value_name = "FILE", requires = "url")]
    token_file: Option<PathBuf>,
}

/// A context with the words that name it in error messages.
#[derive(Clone, Debug)]
pub(super) struct Target {
    context: Context,
    place: String,
}

impl ConnectArgs {
    /// Finds out which server and certificate are meant.
    pub(super) fn target(&self) -> Result<Target, Problem> {
        if let (Some(url), Some(certificate), Some(key), Some(ca)) =
            (&self.url, &self.cert, &self.key, &self.cacert)
        {
            let context = Context {
                url: url.clone(),
                ca: ca.clone(),
                certificate: certificate.clone(),
                key: key.clone(),
                order_key: self.order_key.clone(),
                proof: None,
                token_file: self.token_file.clone(),
            };
            return Ok(Target::new(context));
        }
        let named = self.context.clone().or_else(|| std::env::var_os(CONTEXT_VARIABLE).map(PathBuf::from));
        let Some(path) = named.filter(|path| !path.as_os_str().is_empty()) else {
            return Err(Problem::new("no context is given")
                .at(format!("neither --context nor ${CONTEXT_VARIABLE} is set"))
                .fix("Name the context.toml beside your certificate, or give --url, --cert, --key and --cacert.")
                .exit(EXIT_USAGE));
        };
        Context::load(&path)
            .map(Target::new)
            .map_err(|error| config_problem(&error, &path.display().to_string()))
    }
}

impl Target {
    fn new(context: Context) -> Self {
        let place = format!("{}, certificate {}", context.url, context.certificate.display());
        Self { context, place }
    }

    /// Signs with this, whatever the context says.
    pub(super) const fn signing_with(mut self, proof: ProofDemand) -> Self {
        self.context.proof = Some(proof);
        self
    }

    /// Another server, by the same certificate.
    pub(super) fn at_server(self, url: &str) -> Self {
        Self::new(Context { url: url.to_owned(), ..self.context })
    }

    /// The files that are meant.
    pub(super) const fn context(&self) -> &Context {
        &self.context
    }

    /// Server and certificate, for the line `where`.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Connects and proves the session.
    pub(super) async fn connect(&self) -> Result<Client, Problem> {
        self.connect_by(Protocol::Json).await
    }

    /// As [`Self::connect`], by a sub-protocol.
    pub(super) async fn connect_by(&self, protocol: Protocol) -> Result<Client, Problem> {
        self.connect_with(|config| config.protocol = protocol).await
    }

    /// As [`Self::connect`], for DBN records as the server sends them.
    pub(super) async fn connect_to_keep_records(&self) -> Result<Client, Problem> {
        self.connect_with(|config| (config.protocol, config.keep_records) = (Protocol::Dbn, true)).await
    }

    /// Everything that a connection is made from.
    pub(super) fn config(&self) -> Result<ClientConfig, Problem> {
        ClientConfig::from_context(&self.context).map_err(|error| config_problem(&error, &self.place))
    }

    async fn connect_with(&self, change: impl FnOnce(&mut ClientConfig)) -> Result<Client, Problem> {
        let mut config = self.config()?;
        change(&mut config);
        Client::connect_with(&config)
            .await
            .map_err(|error| Problem::of_connect(&error).at(self.place.clone()))
    }
}

fn config_problem(error: &ConfigError, place: &str) -> Problem {
    let fix = match error {
        ConfigError::Unreadable { .. } => "Check path and permissions of the file.",
        ConfigError::Context { .. } => {
            "A context has the keys url, ca, certificate and key, and may have order_key, proof and token_file; nothing else."
        }
        ConfigError::Token { .. } => "Let the identity provider's agent write a fresh token into the file.",
        ConfigError::Url(UrlError::Scheme) => "There is no plaintext: the address begins with wss://.",
        ConfigError::Url(_) => "Give the address as wss://HOST:PORT/v1/feed.",
        _ => "Take the files from the client's bundle as the PKI script made them.",
    };
    Problem::of_error(error).at(place.to_owned()).fix(fix).exit(EXIT_USAGE)
}
