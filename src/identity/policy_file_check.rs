//! What makes a policy file invalid though each of its values is good.

use std::collections::HashSet;

use super::policy_dates::{Dates, ValidFrom, ValidTo};
use super::policy_file::{MatchText, NameTerm, OrdersText, PolicyFile, RuleText};
use super::policy_file_error::PolicyFileError;
use crate::types::principal::is_name;

/// Most rules, denies, firms and products of one file.
pub const RULES_MAX: usize = 10_000;

impl PolicyFile {
    /// Reads and checks a policy.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, PolicyFileError> {
        let text = std::str::from_utf8(bytes).map_err(|_| PolicyFileError::NotText)?;
        let file: Self =
            toml::from_str(text).map_err(|source| PolicyFileError::Parse { source: Box::new(source) })?;
        file.check()?;
        Ok(file)
    }

    fn check(&self) -> Result<(), PolicyFileError> {
        let count = self.rules.len() + self.denies.len() + self.firms.len() + self.products.len();
        if count > RULES_MAX {
            return Err(PolicyFileError::TooMany { count });
        }
        let of_rules = self.rules.iter().map(|rule| (&rule.name, &rule.matches));
        let of_denies = self.denies.iter().map(|deny| (&deny.name, &deny.matches));
        let mut seen = HashSet::new();
        for (index, (name, matches)) in of_rules.chain(of_denies).enumerate() {
            if !is_name(name) {
                return Err(PolicyFileError::BadName { position: index + 1 });
            }
            if !seen.insert(name) {
                return Err(PolicyFileError::NameTwice { name: name.clone() });
            }
            self.check_role(name, matches)?;
        }
        self.check_symbols()?;
        self.check_dates()?;
        self.rules.iter().try_for_each(RuleText::check)?;
        self.check_products()?;
        self.check_firms()
    }

    fn check_symbols(&self) -> Result<(), PolicyFileError> {
        let of_orders = self.rules.iter().filter_map(|rule| {
            let orders = rule.orders.as_ref()?;
            Some((&rule.name, &orders.symbols, &orders.products))
        });
        let of_publish = self.rules.iter().filter_map(|rule| {
            let publish = rule.publish.as_ref()?;
            Some((&rule.name, &publish.symbols, &publish.products))
        });
        let of_denies = self.denies.iter().map(|deny| (&deny.name, &deny.symbols, &deny.products));
        let mut lists = of_orders.chain(of_publish).chain(of_denies);
        match lists.find(|(_, symbols, products)| symbols.is_empty() && products.is_empty()) {
            Some((name, ..)) => Err(PolicyFileError::NoSymbols { rule: name.clone() }),
            None => Ok(()),
        }
    }

    fn check_dates(&self) -> Result<(), PolicyFileError> {
        let of_rules = self.rules.iter().map(|rule| (&rule.name, &rule.valid_from, &rule.valid_to));
        let of_denies = self.denies.iter().map(|deny| (&deny.name, &deny.valid_from, &deny.valid_to));
        let is_never = |(_, from, to): &(_, &Option<ValidFrom>, &Option<ValidTo>)| {
            !Dates::from_text(from.as_ref(), to.as_ref()).are_possible()
        };
        match of_rules.chain(of_denies).find(is_never) {
            Some((name, ..)) => Err(PolicyFileError::NeverHolds { rule: name.clone() }),
            None => Ok(()),
        }
    }

    fn check_products(&self) -> Result<(), PolicyFileError> {
        let mut seen = HashSet::new();
        for (index, product) in self.products.iter().enumerate() {
            if !is_name(&product.name) {
                return Err(PolicyFileError::BadProduct { position: index + 1 });
            }
            if !seen.insert(&product.name) {
                return Err(PolicyFileError::ProductTwice { name: product.name.clone() });
            }
            if product.symbols.is_empty() {
                return Err(PolicyFileError::EmptyProduct { name: product.name.clone() });
            }
        }
        Ok(())
    }

    fn check_firms(&self) -> Result<(), PolicyFileError> {
        let mut seen = HashSet::new();
        for (index, firm) in self.firms.iter().enumerate() {
            if !is_name(&firm.name) {
                return Err(PolicyFileError::BadFirm { position: index + 1 });
            }
            if !seen.insert(&firm.name) {
                return Err(PolicyFileError::FirmTwice { name: firm.name.clone() });
            }
            if firm.bounds_nothing() {
                return Err(PolicyFileError::BoundsNothing { name: firm.name.clone() });
            }
        }
        Ok(())
    }

    fn check_role(&self, rule: &str, matches: &MatchText) -> Result<(), PolicyFileError> {
        match &matches.role {
            Some(NameTerm(Some(role))) if !self.roles.contains(role) => Err(PolicyFileError::UnknownRole {
                rule: rule.to_owned(),
                role: role.clone(),
                known: self.roles.join(", "),
            }),
            _ => Ok(()),
        }
    }
}

impl RuleText {
    fn check(&self) -> Result<(), PolicyFileError> {
        let rule = || self.name.clone();
        if self.channels.is_empty() != (self.symbols.is_empty() && self.products.is_empty()) {
            return Err(PolicyFileError::HalfGrant { rule: rule() });
        }
        if self.channels.is_empty() && self.delay.0 != 0 {
            return Err(PolicyFileError::DelaysNothing { rule: rule() });
        }
        let has_rights = !self.channels.is_empty() || self.orders.is_some() || self.publish.is_some();
        let has_more = self.drop_copy || !self.admin.is_empty() || self.limits.is_some();
        let has_flags = self.professional.is_some() || self.display.is_some();
        if !has_rights && !has_more && !has_flags {
            return Err(PolicyFileError::GrantsNothing { rule: rule() });
        }
        if self.orders.as_ref().is_some_and(OrdersText::has_half_duplicates) {
            return Err(PolicyFileError::HalfDuplicates { rule: rule() });
        }
        Ok(())
    }
}
