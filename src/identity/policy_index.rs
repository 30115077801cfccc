//! Which rules can be about a principal, without asking all of them: by firm and by user.
//!
//! A policy may have ten thousand rules, and each connection, each reload and each date asks for every principal. Roles are left to the rules themselves.

use std::collections::HashMap;

use crate::types::Principal;

/// Numbers of rules, by the firm that they name, or under no firm.
#[derive(Debug, Default)]
pub(super) struct Index {
    firms: HashMap<Box<str>, Users>,
    any_firm: Users,
}

/// Numbers of rules, by the user that they name, or under no user.
#[derive(Debug, Default)]
struct Users {
    users: HashMap<Box<str>, Vec<usize>>,
    any_user: Vec<usize>,
}

impl Index {
    /// Of names in the order of their rules: firm and user, `None` for any.
    pub(super) fn new<'a>(names: impl Iterator<Item = (Option<&'a str>, Option<&'a str>)>) -> Self {
        let mut index = Self::default();
        for (number, (firm, user)) in names.enumerate() {
            let users = match firm {
                Some(firm) => index.firms.entry(firm.into()).or_default(),
                None => &mut index.any_firm,
            };
            match user {
                Some(user) => users.users.entry(user.into()).or_default().push(number),
                None => users.any_user.push(number),
            }
        }
        index
    }

    /// Numbers of the rules whose firm and user are this principal's, in order.
    pub(super) fn about(&self, principal: &Principal) -> Vec<usize> {
        let mut found = Vec::new();
        for users in self.firms.get(principal.firm()).into_iter().chain([&self.any_firm]) {
            found.extend(&users.any_user);
            found.extend(users.users.get(principal.user()).into_iter().flatten());
        }
        found.sort_unstable();
        found
    }
}
