//! The map of the layers is true: imports go downward only, files stay readable.
//!
//! The table is that of `ARCHITECTURE.md`. Reads the sources as text; code under `#[cfg(test)]`
//! and files named `tests.rs` or `fuzz.rs` may look where they like.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What each layer may import of ours. A layer that is not listed may not exist.
const ALLOWED: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("observe", &["model"]),
    ("definition", &["model"]),
    ("machine", &["model", "definition"]),
    ("store", &["model", "observe"]),
    ("executor", &["model", "definition", "observe"]),
    ("runtime", &["model", "definition", "machine", "observe", "store", "executor"]),
    ("identity", &["model"]),
    ("api", &["model", "definition", "observe", "identity", "runtime"]),
    ("dashboard", &["model", "definition", "observe", "runtime"]),
    ("config", CORE),
    ("telemetry", &["config"]),
    ("app", COMPOSED),
    ("cli", &["app", "config", "telemetry", "model"]),
    ("lib", &[]),
    ("main", &[]),
];

const CORE: &[&str] =
    &["model", "definition", "machine", "observe", "store", "executor", "identity", "runtime"];
const COMPOSED: &[&str] = &[
    "model",
    "definition",
    "machine",
    "observe",
    "store",
    "executor",
    "identity",
    "runtime",
    "api",
    "dashboard",
    "config",
    "telemetry",
];

/// Layers that see of the runtime its handle alone.
const FACES: [&str; 2] = ["api", "dashboard"];
/// What of the runtime is not the handle: only composition touches it.
const BEHIND_THE_HANDLE: [&str; 3] = ["Runtime", "RuntimeParts", "RuntimeSettings"];
/// Lines. Beyond this a file has more than one subject.
const MAX_LINES: usize = 500;

struct Source {
    path: PathBuf,
    layer: String,
    text: String,
}

#[test]
fn imports_go_downward_only() {
    let mut faults = Vec::new();
    for source in sources() {
        let Some((_, allowed)) = ALLOWED.iter().find(|(layer, _)| *layer == source.layer) else {
            faults.push(format!("{}: {} is no layer", source.path.display(), source.layer));
            continue;
        };
        for (target, item) in crate_paths(&production_code(&source)) {
            let inside = target == source.layer;
            let face = FACES.contains(&source.layer.as_str());
            let behind = target == "runtime" && BEHIND_THE_HANDLE.contains(&item.as_str());
            if !(inside || allowed.contains(&target.as_str())) || (face && behind) {
                faults.push(format!("{}: crate::{target}::{item}", source.path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "imports that the table forbids:\n{}", faults.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for_and_stays_readable() {
    let mut faults = Vec::new();
    for source in sources() {
        if !is_test_code(&source.path) && !source.text.starts_with("//! ") {
            faults.push(format!("{}: begins without a //! paragraph", source.path.display()));
        }
        let lines = source.text.lines().count();
        if lines > MAX_LINES {
            faults.push(format!("{}: {lines} lines", source.path.display()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn paths_are_found_in_every_form_of_use() {
    let text = "use crate::model::{A, B};\nuse crate::{store::{X, Y}, observe};\nlet a = crate::runtime::Runtime::x();";
    let found: BTreeSet<(String, String)> = crate_paths(text).into_iter().collect();
    for (target, item) in
        [("model", "A"), ("model", "B"), ("store", "X"), ("observe", ""), ("runtime", "Runtime")]
    {
        assert!(
            found.contains(&(target.to_owned(), item.to_owned())),
            "{target}::{item}: {found:?}"
        );
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let first = path.strip_prefix(&root).unwrap().components().next().unwrap();
                let layer = first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned();
                let text = fs::read_to_string(&path).unwrap();
                sources.push(Source { path, layer, text });
            }
        }
    }
    assert!(!sources.is_empty(), "no sources under {}", root.display());
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

fn is_test_code(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "tests.rs" || name == "fuzz.rs")
}

/// The code without comments and without what follows the first `#[cfg(test)]`.
fn production_code(source: &Source) -> String {
    if is_test_code(&source.path) {
        return String::new();
    }
    let code = source.text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Every `crate::layer::Item` of the text; groups in braces are taken apart.
fn crate_paths(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        for path in expand(&text[at + "crate::".len()..]) {
            let mut parts = path.split("::");
            let target = parts.next().unwrap_or_default().to_owned();
            let item = parts.next().unwrap_or_default().to_owned();
            found.push((target, item));
        }
    }
    found
}

/// The paths at the start of a text: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expand(text: &str) -> Vec<String> {
    let end =
        text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(text.len());
    let (prefix, rest) = text.split_at(end);
    if !(prefix.is_empty() || prefix.ends_with("::")) || !rest.starts_with('{') {
        return vec![prefix.trim_end_matches(':').to_owned()];
    }
    group(rest)
        .iter()
        .flat_map(|item| expand(item.trim()))
        .map(|path| format!("{prefix}{path}"))
        .collect()
}

/// The items of a group in braces.
fn group(text: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut depth = 0;
    for c in text.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        match c {
            _ if depth == 0 => break,
            '{' if depth == 1 => {}
            ',' if depth == 1 => items.push(String::new()),
            c => items.last_mut().unwrap().push(c),
        }
    }
    items.retain(|item| !item.trim().is_empty());
    items
}
