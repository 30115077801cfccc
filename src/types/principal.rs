//! Who a certificate names.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The identity a client certificate proved: `firm/user`.
///
/// Both parts are 1 to 64 characters of `A-Z a-z 0-9 . _ -`; only `identity` makes them from a certificate.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Principal(Arc<Names>);

// Each session, order and answer has one (docs/adr/0047).
const _: () = assert!(size_of::<Principal>() == size_of::<usize>());

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Names {
    firm: Arc<str>,
    /// `firm/user`.
    name: Arc<str>,
}

/// Longest firm or user name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

impl Principal {
    /// A principal of these two names, or `None` if either breaks the alphabet or the length.
    #[must_use]
    pub fn new(firm: &str, user: &str) -> Option<Self> {
        (is_name(firm) && is_name(user))
            .then(|| Self(Arc::new(Names { firm: firm.into(), name: format!("{firm}/{user}").into() })))
    }

    /// The firm: the certificate's organisation.
    #[must_use]
    pub fn firm(&self) -> &str {
        &self.0.firm
    }

    /// The firm, to be kept.
    #[must_use]
    pub fn firm_shared(&self) -> Arc<str> {
        Arc::clone(&self.0.firm)
    }

    /// The user within the firm: the certificate's common name.
    #[must_use]
    pub fn user(&self) -> &str {
        self.0.name.get(self.0.firm.len() + 1..).unwrap_or_default()
    }

    /// `firm/user`, to be kept.
    #[must_use]
    pub fn name_shared(&self) -> &Arc<str> {
        &self.0.name
    }
}

impl Hash for Principal {
    /// Of the whole name, which has the firm in it.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.name)
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether `text` may stand for a firm, a user or a role: the alphabet has no character that could be taken
/// for another, for a separator, or for a control sequence.
#[must_use]
pub fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// The role a certificate carries in its organisational unit, such as `trader`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Role(Arc<str>);

impl Role {
    /// A role of this name, or `None` if it breaks the alphabet or the length.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        is_name(name).then(|| Self(name.into()))
    }

    /// The name as it stands in the certificate.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Principal;

    #[test]
    fn names_with_separators_or_control_characters_are_refused() {
        for hostile in ["", "a/b", "a,OU=admin", "a\0", "a\n", "\u{202e}evil", "аcme", "a b"] {
            assert_eq!(Principal::new(hostile, "alice"), None, "{hostile:?}");
            assert_eq!(Principal::new("acme", hostile), None, "{hostile:?}");
        }
        let principal = Principal::new("acme", "desk-7.a_b").unwrap();
        assert_eq!(principal.to_string(), "acme/desk-7.a_b");
        assert_eq!(
            (principal.firm(), principal.user(), &**principal.name_shared()),
            ("acme", "desk-7.a_b", "acme/desk-7.a_b")
        );
    }
}
