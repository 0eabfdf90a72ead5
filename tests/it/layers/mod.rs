//! The map of the layers is true: imports go downward only, files stay readable.
//!
//! The table is that of `ARCHITECTURE.md`. Test code may look where it likes.

mod modules;

use std::fs;
use std::path::Path;

use self::modules::{Modules, Names};

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

#[test]
fn imports_go_downward_only() {
    let modules = modules();
    let mut faults = Vec::new();
    for (name, module) in &modules.0 {
        let layer = name.first().map_or("main", String::as_str);
        let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| *known == layer) else {
            faults.push(format!("{}: {layer} is no layer", module.file.display()));
            continue;
        };
        for path in &module.uses {
            let [target, rest @ ..] = path.as_slice() else { continue };
            let inside = target == layer || name.is_empty();
            let behind = target == "runtime"
                && rest.first().is_some_and(|item| BEHIND_THE_HANDLE.contains(&item.as_str()));
            if !(inside || allowed.contains(&target.as_str())) || (FACES.contains(&layer) && behind)
            {
                faults.push(format!("{}: crate::{}", module.file.display(), path.join("::")));
            }
        }
    }
    assert!(faults.is_empty(), "imports that the table forbids:\n{}", faults.join("\n"));
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let modules = modules();
    let told: Vec<String> = modules.cycles().iter().map(|group| circle(&modules, group)).collect();
    assert!(told.is_empty(), "{} circles of imports:\n{}", told.len(), told.join("\n"));
}

/// The files of a circle, each with what it uses of the others.
fn circle(modules: &Modules, group: &[&Names]) -> String {
    let mut lines = vec![format!("{} files:", group.len())];
    for name in group {
        for (file, path) in modules.used_items(name).filter(|(file, _)| group.contains(file)) {
            let item = path.last().unwrap();
            lines.push(format!("  {} uses {} of {}", name.join("::"), item, file.join("::")));
        }
    }
    lines.join("\n")
}

#[test]
fn every_file_says_what_it_is_for_and_stays_readable() {
    let mut faults = Vec::new();
    for module in modules().0.values() {
        let file = module.file.display();
        let text = fs::read_to_string(&module.file).unwrap();
        if !text.starts_with("//! ") {
            faults.push(format!("{file}: begins without a //! paragraph"));
        }
        let lines = text.lines().count();
        if lines > MAX_LINES {
            faults.push(format!("{file}: {lines} lines"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn modules() -> Modules {
    let modules = Modules::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(modules.0.len() > 100, "the files of src are found");
    modules
}
