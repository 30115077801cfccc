//! Who is there, and what they may do: the only module that reads certificates.
//!
//! In: PEM files, the deny-list, the entitlement policy, master secrets, keys of an issuer of tokens. Out: a rustls configuration for each handshake, the
//! [`Identified`] holder of a certificate, its [`Entitlement`], and for every refusal a code. Knows nothing of
//! sockets or sessions. All files together are one state, checked as a whole and swapped as a whole: a reload that
//! fails in any file keeps everything that was in force.

mod authorities;
mod confinement;
mod deny_list;
mod der;
mod describe;
mod error;
mod files;
#[doc(hidden)]
pub mod fuzzing;
mod good_paths;
mod leaf;
mod order_key;
mod policy;
mod policy_dates;
mod policy_explain;
mod policy_file;
mod policy_file_check;
mod policy_file_error;
mod policy_file_orders;
mod policy_file_values;
mod policy_index;
mod policy_products;
mod policy_rule;
mod policy_trace;
mod principal;
mod refusal;
mod revocation;
mod signature;
mod tls;
mod token;
mod token_jwt;
mod token_keys;
mod token_withdrawn;
mod verifier;

#[cfg(test)]
mod handshake_tests;
#[cfg(test)]
mod judging_tests;
#[cfg(test)]
mod load_tests;
#[cfg(test)]
mod test_pki;
#[cfg(test)]
mod token_tests;

pub use authorities::RevocationState;
pub use deny_list::ENTRIES_MAX as DENY_LIST_ENTRIES_MAX;
pub use describe::{Described, chain_breaks_at, describe};
pub use error::{FileRole, IdentityError};
pub use files::FileRecord;
pub use order_key::OrderKeys;
pub use policy::{Policy, PolicyError};
pub use policy_explain::RuleLine;
pub use policy_file::{PolicyFileError, ROLES};
pub use policy_file_check::RULES_MAX;
pub use policy_trace::{NamedBy, RuleTrace};
pub use principal::{Identified, URI_SCHEME};
pub use refusal::{Claim, Refusal, RefusalSlot, classify, classify_io, timed_out};
pub use revocation::Standing;
pub use token::{Token, TokenRefusal};

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};
use rustls::server::ServerConfig;
use rustls_pki_types::CertificateDer;
use sealfeed_wire::Code;
use sha2::{Digest, Sha256};

use crate::clock::{Clock, format_utc};
use crate::config::{IdentityConfig, TlsConfig, TokensConfig};
use crate::types::{Entitlement, UnixNanos};
use authorities::Authorities;
use deny_list::DenyList;
use error::FileRole as Role;
use good_paths::GoodPaths;
use leaf::Ceilings;
use order_key::{MasterSecret, Masters};
use tls::ServerTls;
use token::Tokens;
use verifier::{HandshakeVerifier, Trust};

/// Everything that decides who gets in.
pub struct Identity {
    clock: Clock,
    state: ArcSwap<State>,
    /// Grows with every reload, after the new state is in force.
    generation: AtomicU64,
    /// Held by the reload that is under way, so that two cannot put an older list in force between them.
    reloading: Mutex<()>,
}

/// One consistent set of files.
struct State {
    /// The sections of the configuration by which they were read and judged.
    tls: TlsConfig,
    identity: IdentityConfig,
    tokens_config: Option<TokensConfig>,
    server: ServerTls,
    trust: Arc<Trust>,
    masters: Masters,
    policy: Policy,
    /// `None`: tokens are off.
    tokens: Option<Tokens>,
    files: Vec<FileRecord>,
    /// SHA-256 of every file, secrets included; stays in memory.
    digests: BTreeMap<FileRole, [u8; 32]>,
}

/// What one handshake needs.
pub struct Handshake {
    /// For this handshake alone.
    pub config: Arc<ServerConfig>,
    /// Where the reason stands if it is refused.
    pub slot: RefusalSlot,
}

/// What is in force, for the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// Every file that was read, with the digest of those that are no secrets.
    pub files: Vec<FileRecord>,
    /// Rules, revocation lists with numbers and dates, certificate dates, names of the master secrets; one line.
    pub summary: String,
}

/// What a reload did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Files whose content is another now, that came or that went.
    pub changed: Vec<FileRole>,
    /// What is in force now.
    pub in_force: InForce,
}

impl Identity {
    /// Reads and checks every file.
    ///
    /// # Errors
    /// [`IdentityError`] for the first file that is missing, exposed, malformed or contradicts another.
    pub fn load(
        tls: &TlsConfig,
        identity: &IdentityConfig,
        tokens: Option<&TokensConfig>,
        clock: Clock,
    ) -> Result<Self, IdentityError> {
        let now = clock.now();
        let state = State::load(tls, identity, tokens, &clock, now)?;
        state.trust.authorities.warn_of_grace(now);
        Ok(Self {
            clock,
            state: ArcSwap::from_pointee(state),
            generation: AtomicU64::new(0),
            reloading: Mutex::new(()),
        })
    }

    /// Reads every file again and puts all of them in force, or none. Open sessions are then to be swept with
    /// [`Identity::still_valid`] and [`Identity::entitlement`].
    ///
    /// # Errors
    /// [`IdentityError`] as from [`Identity::load`], and for a revocation list older than the one in force; what was
    /// in force stays so.
    pub fn reload(&self, now: UnixNanos) -> Result<Changes, IdentityError> {
        let only_one = self.reloading.lock();
        let (tls, identity, tokens) = {
            let state = self.state.load();
            (state.tls.clone(), state.identity.clone(), state.tokens_config.clone())
        };
        self.put_in_force(&only_one, &tls, &identity, tokens.as_ref(), now)
    }

    /// As [`Identity::reload`], by other sections of the configuration: both come into force with the files that they name, or
    /// neither does. Ceilings hold for new connections; files, authorities and their firms for open sessions too.
    ///
    /// # Errors
    /// As from [`Identity::reload`].
    pub fn reconfigure(
        &self,
        tls: &TlsConfig,
        identity: &IdentityConfig,
        tokens: Option<&TokensConfig>,
        now: UnixNanos,
    ) -> Result<Changes, IdentityError> {
        let only_one = self.reloading.lock();
        self.put_in_force(&only_one, tls, identity, tokens, now)
    }

    fn put_in_force(
        &self,
        _only_one: &MutexGuard<'_, ()>,
        tls: &TlsConfig,
        identity: &IdentityConfig,
        tokens: Option<&TokensConfig>,
        now: UnixNanos,
    ) -> Result<Changes, IdentityError> {
        let next = State::load(tls, identity, tokens, &self.clock, now)?;
        let before = self.state.load();
        next.trust.authorities.check_not_rolled_back(&before.trust.authorities)?;
        let roles: BTreeSet<FileRole> = next.digests.keys().chain(before.digests.keys()).copied().collect();
        let changed =
            roles.into_iter().filter(|role| next.digests.get(role) != before.digests.get(role)).collect();
        let changes = Changes { changed, in_force: next.in_force(now) };
        next.trust.authorities.warn_of_grace(now);
        self.state.store(Arc::new(next));
        // Behind the state: whoever sees the new number finds the new secrets.
        self.generation.fetch_add(1, Ordering::Release);
        Ok(changes)
    }

    /// Configuration and refusal slot of the next handshake. Takes about a microsecond and no lock; the
    /// configuration is freed with the handshake.
    #[must_use]
    pub fn accept(&self) -> Handshake {
        let state = self.state.load();
        let slot = RefusalSlot::default();
        let verifier = HandshakeVerifier::new(Arc::clone(&state.trust), slot.clone());
        Handshake { config: Arc::new(state.server.config(Arc::new(verifier))), slot }
    }

    /// Whom the certificate of a finished handshake names. Judges everything but path and signatures again, by the
    /// files in force now: the list that revokes it may have come since the handshake.
    ///
    /// # Errors
    /// The [`Refusal`], with the claim.
    pub fn identify(&self, chain: &[CertificateDer<'_>], now: UnixNanos) -> Result<Identified, Refusal> {
        let state = self.state.load();
        let Some(der) = chain.first() else {
            return Err(Refusal::bare(Code::TlsCertificateMissing, "no certificate was presented"));
        };
        let Some(certificate) = leaf::parse(der) else {
            return Err(Refusal::bare(Code::TlsCertificateMalformed, "the certificate cannot be parsed"));
        };
        let refuse = |code, detail| Refusal { code, claim: Some(leaf::claim(&certificate)), detail };
        state.trust.check_leaf(der, &certificate, now).map_err(|(code, detail)| refuse(code, detail))?;
        let issuer = state.trust.authorities.by_name(certificate.issuer().as_raw());
        let issuer = issuer
            .ok_or_else(|| refuse(Code::TlsIssuerUnknown, "its issuer is no client authority".to_owned()))?;
        let fingerprint: [u8; 32] = Sha256::digest(der).into();
        principal::identify(&certificate, fingerprint, Arc::clone(&issuer.name))
            .map_err(|(code, detail)| refuse(code, detail.to_owned()))
    }

    /// The generation of master secrets in force: it grows with every reload. An atomic load, for every signed message.
    #[must_use]
    pub fn key_generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The order keys of a session's certificate, by the master secrets in force now.
    #[must_use]
    pub fn order_keys(&self, identified: &Identified) -> OrderKeys {
        let generation = self.key_generation();
        self.state.load().masters.order_keys(&identified.fingerprint, generation)
    }

    /// All that an identified principal may do, by the policy in force now.
    ///
    /// # Errors
    /// [`PolicyError`] if that is nothing, or if rules contradict each other.
    pub fn entitlement(&self, identified: &Identified) -> Result<Entitlement, PolicyError> {
        self.entitlement_at(identified, self.clock.now())
    }

    /// All that an identified principal may do at `now`, by the policy in force now. [`Entitlement::changes_at`] says until when that holds.
    ///
    /// # Errors
    /// [`PolicyError`] if that is nothing, or if rules contradict each other.
    pub fn entitlement_at(
        &self,
        identified: &Identified,
        now: UnixNanos,
    ) -> Result<Entitlement, PolicyError> {
        self.state.load().policy.entitlement(&identified.principal, identified.role.as_ref(), now)
    }

    /// Every effect of every rule on an identified principal, for `whoami`.
    #[must_use]
    pub fn explain(&self, identified: &Identified) -> Vec<RuleLine> {
        let now = self.clock.now();
        self.state.load().policy.explain(&identified.principal, identified.role.as_ref(), now)
    }

    /// Whether the certificate of an open session still holds, by the files in force now.
    ///
    /// # Errors
    /// [`Code::SesCertificateExpired`], or [`Code::SesCertificateRevoked`] if it or an authority above it was revoked,
    /// is denied, is no longer trusted or no longer so for its firm; and why, for the log: which list, by its number, or which
    /// entry of the deny-list.
    pub fn still_valid(&self, identified: &Identified, now: UnixNanos) -> Result<(), (Code, String)> {
        if now > identified.not_after {
            let until = format_utc(identified.not_after);
            return Err((Code::SesCertificateExpired, format!("the certificate was valid until {until}")));
        }
        let state = self.state.load();
        state.trust.check_open(identified, now).map_err(|(_, why)| (Code::SesCertificateRevoked, why))
    }

    /// Judges the token that came with an upgrade by this certificate, or that none came. Takes one signature's verification.
    ///
    /// # Errors
    /// [`TokenRefusal`] with the code.
    pub fn admit_token(
        &self,
        presented: Option<&str>,
        identified: &Identified,
        now: UnixNanos,
    ) -> Result<Option<Token>, TokenRefusal> {
        token::admit(self.state.load().tokens.as_ref(), presented, identified, now)
    }

    /// Judges the token that an open session presents in place of `before`.
    ///
    /// # Errors
    /// [`TokenRefusal`] with the code; also where `before` is `None`, or of another `sub`.
    pub fn renew_token(
        &self,
        before: Option<&Token>,
        presented: &str,
        identified: &Identified,
        now: UnixNanos,
    ) -> Result<Token, TokenRefusal> {
        token::renew(self.state.load().tokens.as_ref(), before, presented, identified, now)
    }

    /// Whether an open session may go on with its token, or without one, by the files in force now.
    ///
    /// # Errors
    /// The code with which it ends, and why, for the log.
    pub fn token_holds(
        &self,
        token: Option<&Token>,
        identified: &Identified,
        now: UnixNanos,
    ) -> Result<(), (Code, String)> {
        token::holds(self.state.load().tokens.as_ref(), token, &identified.principal, now)
    }

    /// What is in force, for the journal.
    #[must_use]
    pub fn in_force(&self) -> InForce {
        self.state.load().in_force(self.clock.now())
    }

    /// How the list of each authority stands now, by the names of the authorities.
    #[must_use]
    pub fn revocation_state(&self) -> Vec<RevocationState> {
        let (state, now) = (self.state.load(), self.clock.now());
        state.trust.authorities.revocation_state(now)
    }

    /// When the first revocation list runs out, its grace included, and everybody whom it covers is refused; alarm well before.
    #[must_use]
    pub fn revocation_deadline(&self) -> UnixNanos {
        let deadlines = self.revocation_state().into_iter().map(|state| state.refused_from);
        deadlines.min().unwrap_or_default()
    }

    /// Last moment of the client authority that ends first.
    #[must_use]
    pub fn client_authority_not_after(&self) -> UnixNanos {
        let state = self.state.load();
        state.trust.authorities.iter().map(|(_, authority)| authority.not_after).min().unwrap_or_default()
    }

    /// Last moment of the server's own certificate.
    #[must_use]
    pub fn server_certificate_not_after(&self) -> UnixNanos {
        self.state.load().server.not_after
    }
}

impl State {
    fn load(
        tls: &TlsConfig,
        identity: &IdentityConfig,
        tokens_config: Option<&TokensConfig>,
        clock: &Clock,
        now: UnixNanos,
    ) -> Result<Self, IdentityError> {
        let certificate = files::read(Role::ServerCertificate, &tls.certificate)?;
        let key = files::read(Role::ServerKey, &tls.key)?;
        let client_authorities = files::read(Role::ClientAuthorities, &tls.client_authorities)?;
        let lists = files::read(Role::RevocationLists, &tls.client_revocation_lists)?;
        let entitlements = files::read(Role::Entitlements, &identity.entitlements)?;
        let master = files::read(Role::MasterKey, &identity.master_key)?;
        let previous = read_previous(identity)?;
        let denied = tls.deny_list.as_ref().map(|path| files::read(Role::DenyList, path)).transpose()?;
        let (tokens, of_tokens) = tokens_config.map(Tokens::load).transpose()?.unzip();
        let read: Vec<&files::Contents> =
            [&certificate, &key, &client_authorities, &lists, &entitlements, &master]
                .into_iter()
                .chain(&previous)
                .chain(&denied)
                .chain(of_tokens.iter().flatten())
                .collect();
        let digests = read.iter().map(|contents| (contents.role, contents.digest)).collect();
        let files = read.iter().map(|contents| contents.record.clone()).collect();
        let server = ServerTls::load(&certificate, key, clock, now)?;
        let mut authorities = Authorities::load(&client_authorities, &lists, tls, now)?;
        let paths = tls::path_verifier(&mut authorities)?;
        let deny_list = denied.as_ref().map(DenyList::parse).transpose()?.unwrap_or_default();
        let ceilings = Ceilings { lifetime_days_max: tls.lifetime_days_max, rsa_bits_min: tls.rsa_bits_min };
        let policy = Policy::parse(&entitlements.bytes).map_err(|source| IdentityError::Policy { source })?;
        let masters = Masters {
            current: MasterSecret::parse(master)?,
            previous: previous.map(MasterSecret::parse).transpose()?,
        };
        let trust =
            Arc::new(Trust { authorities, paths, good_paths: GoodPaths::default(), deny_list, ceilings });
        let (tls, identity, tokens_config) = (tls.clone(), identity.clone(), tokens_config.cloned());
        Ok(Self { tls, identity, tokens_config, server, trust, masters, policy, tokens, files, digests })
    }

    fn in_force(&self, now: UnixNanos) -> InForce {
        let lists: Vec<String> =
            self.trust.authorities.revocation_state(now).iter().map(ToString::to_string).collect();
        let previous = self.masters.previous.as_ref().map(MasterSecret::name);
        let summary = format!(
            "{} rules; {}; {}{}server certificate {} until {}; order keys from master {}{}",
            self.policy.count(),
            lists.join("; "),
            self.tls
                .deny_list
                .as_ref()
                .map_or(String::new(), |_| format!("{} denied; ", self.trust.deny_list.count())),
            self.tokens.as_ref().map(Tokens::summary).unwrap_or_default(),
            self.server.subject,
            format_utc(self.server.not_after),
            self.masters.current.name(),
            previous.map_or(String::new(), |name| format!(" and {name}")),
        );
        InForce { files: self.files.clone(), summary }
    }
}

/// Every file that a load reads, in the order of the configuration, for a watch; that of the previous master though it may be
/// missing.
#[must_use]
pub fn files(tls: &TlsConfig, identity: &IdentityConfig, tokens: Option<&TokensConfig>) -> Vec<PathBuf> {
    let IdentityConfig { entitlements, master_key, previous_master_key } = identity;
    [&tls.certificate, &tls.key, &tls.client_authorities, &tls.client_revocation_lists]
        .into_iter()
        .chain(&tls.deny_list)
        .chain([entitlements, master_key])
        .chain(previous_master_key)
        .chain(tokens.map(|tokens| &tokens.jwks))
        .chain(tokens.and_then(|tokens| tokens.withdrawn.as_ref()))
        .cloned()
        .collect()
}

/// The previous master is optional: no file, no previous master.
fn read_previous(identity: &IdentityConfig) -> Result<Option<files::Contents>, IdentityError> {
    let Some(path) = &identity.previous_master_key else { return Ok(None) };
    match files::read(Role::PreviousMasterKey, path) {
        Ok(contents) => Ok(Some(contents)),
        Err(IdentityError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
