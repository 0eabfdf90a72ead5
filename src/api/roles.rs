//! The role that each route wants, read from the annotations of the operations: the document and
//! the check have one source.
//!
//! An operation names its role as the scope of its security requirement, `("bearer" = ["reader"])`.
//! `own` says that an invoker may call it on threads it started, and an operator on all. An
//! operation that names nothing wants an admin, and fails a test.

use std::collections::HashMap;

use axum::http::Method;
use serde_json::Value;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{OpenApi, PathItem};

use crate::model::Role;

/// The security scheme whose scopes are roles.
const SCHEME: &str = "bearer";
/// The scope of routes that an invoker may call on its own threads.
const OWN: &str = "own";

/// The callers that may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Every caller, without a key.
    Open,
    /// Callers with this role, or a higher one.
    Role(Role),
    /// An invoker on threads it started, an operator on all.
    Own,
}

impl Access {
    /// Returns the least role with which the route can be called at all.
    pub(super) const fn least(self) -> Role {
        match self {
            Self::Open => Role::Reader,
            Self::Role(role) => role,
            Self::Own => Role::Invoker,
        }
    }
}

/// The access to each route.
#[derive(Debug, Default)]
pub(super) struct Roles(HashMap<String, HashMap<Method, Access>>);

impl Roles {
    /// Reads the document of the routes. An alias wants the role that its original wants.
    pub(super) fn of(document: &OpenApi, aliases: &[(&str, &str)]) -> Self {
        let paths = &document.paths.paths;
        let mut table: HashMap<_, _> =
            paths.iter().map(|(path, item)| (path.clone(), accesses(item))).collect();
        for (alias, of) in aliases {
            let accesses = table.get(*of).cloned().unwrap_or_default();
            table.insert((*alias).to_owned(), accesses);
        }
        Self(table)
    }

    /// Returns the access to a route, by its method and its pattern; `None` if it has no such
    /// method.
    pub(super) fn access(&self, method: &Method, pattern: &str) -> Option<Access> {
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        match self.0.get(pattern) {
            Some(accesses) => accesses.get(method).copied(),
            // This is a page of the dashboard.
            None if *method == Method::GET => Some(Access::Role(Role::Reader)),
            None => Some(Access::Role(Role::Admin)),
        }
    }
}

fn accesses(item: &PathItem) -> HashMap<Method, Access> {
    let all = [
        (Method::GET, &item.get),
        (Method::PUT, &item.put),
        (Method::POST, &item.post),
        (Method::PATCH, &item.patch),
        (Method::DELETE, &item.delete),
    ];
    let some =
        all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_ref()?)));
    some.map(|(method, operation)| (method, named(operation).unwrap_or(Access::Role(Role::Admin))))
        .collect()
}

/// Returns the access that the annotation of an operation names.
fn named(operation: &Operation) -> Option<Access> {
    let requirements = operation.security.as_deref()?;
    let scopes: Vec<String> = requirements.iter().flat_map(scopes).collect();
    match scopes.as_slice() {
        [] if requirements.iter().all(|one| *one == SecurityRequirement::default()) => {
            Some(Access::Open)
        }
        [scope] if scope == OWN => Some(Access::Own),
        [scope] => Role::parse(scope).map(Access::Role),
        _ => None,
    }
}

fn scopes(requirement: &SecurityRequirement) -> Vec<String> {
    let value = serde_json::to_value(requirement).unwrap_or_default();
    let scopes = value.get(SCHEME).and_then(Value::as_array).cloned().unwrap_or_default();
    scopes.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Documents the role that an operation wants: in words, and as an extension for programs. Adds
/// that a server without keys asks for none.
pub(super) fn document(operation: &mut Operation) {
    let Some(access) = named(operation) else { return };
    if access == Access::Open {
        return;
    }
    let (least, words) = match access {
        Access::Own => (
            Role::Invoker,
            "Wants the role `invoker` for a thread that the caller started, else `operator`."
                .to_owned(),
        ),
        Access::Open | Access::Role(_) => {
            (access.least(), format!("Wants the role `{}`.", access.least()))
        }
    };
    // One extension only: several of an operation are written in any order.
    let extensions = ExtensionsBuilder::new().add("x-required-role", least.as_str());
    let scopes = vec![if access == Access::Own { OWN } else { least.as_str() }];
    operation.extensions.get_or_insert_default().merge(extensions.build());
    operation.security =
        Some(vec![SecurityRequirement::new(SCHEME, scopes), SecurityRequirement::default()]);
    let text = operation.description.take().unwrap_or_default();
    operation.description = Some(format!("{text}\n\n{words}").trim_start().to_owned());
}

#[cfg(test)]
mod tests {
    use super::super::openapi::{ALIASES, routes};
    use super::*;

    fn access(method: &Method, pattern: &str) -> Option<Access> {
        Roles::of(&routes().into_openapi(), &ALIASES).access(method, pattern)
    }

    #[test]
    fn every_operation_names_the_role_it_wants() {
        let document = routes().into_openapi();
        let mut seen = 0;
        for (path, item) in &document.paths.paths {
            let all = [&item.get, &item.put, &item.post, &item.patch, &item.delete];
            for operation in all.into_iter().flatten() {
                assert!(named(operation).is_some(), "{path}: {:?}", operation.operation_id);
                seen += 1;
            }
        }
        assert!(seen >= 40, "{seen}");
    }

    #[test]
    fn a_route_and_its_aliases_want_the_same() {
        for (alias, of) in ALIASES {
            for method in [Method::GET, Method::POST] {
                assert_eq!(access(&method, alias), access(&method, of), "{alias}");
            }
        }
    }

    #[test]
    fn a_route_that_names_no_role_wants_an_admin() {
        assert_eq!(named(&Operation::new()), None);
        let item = PathItem::new(utoipa::openapi::HttpMethod::Post, Operation::new());
        assert_eq!(accesses(&item).get(&Method::POST), Some(&Access::Role(Role::Admin)));
        assert_eq!(access(&Method::POST, "/nowhere"), Some(Access::Role(Role::Admin)));
    }

    #[test]
    fn heads_want_what_gets_want_and_unknown_methods_nothing() {
        assert_eq!(access(&Method::HEAD, "/threads"), Some(Access::Role(Role::Reader)));
        assert_eq!(
            access(&Method::GET, "/ui/threads/{threadId}"),
            Some(Access::Role(Role::Reader))
        );
        assert_eq!(access(&Method::PUT, "/threads"), None);
    }
}
