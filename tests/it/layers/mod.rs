//! The map of the layers is true: imports go downward only, files stay readable.
//!
//! The table is that of `ARCHITECTURE.md`. Test code may look where it likes. What holds for every
//! file holds for those of `crates/` as well.

mod modules;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use self::modules::{Modules, Names};

/// What each layer may import of ours. A layer that is not listed may not exist.
const ALLOWED: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("contract", &["model"]),
    ("observe", &["model"]),
    ("definition", &["model", "contract"]),
    ("machine", &["model", "contract", "definition"]),
    ("explain", &["model", "contract", "definition", "machine"]),
    ("store", &["model", "observe"]),
    ("executor", &["model", "definition", "observe"]),
    (
        "runtime",
        &["model", "contract", "definition", "machine", "explain", "observe", "store", "executor"],
    ),
    ("identity", &["model"]),
    ("api", &["model", "contract", "definition", "observe", "identity", "runtime"]),
    ("dashboard", &["model", "contract", "definition", "observe", "runtime"]),
    ("config", CORE),
    ("telemetry", &["config"]),
    ("app", COMPOSED),
    ("cli", &["app", "config", "telemetry", "contract", "model"]),
    ("lib", &[]),
    ("main", &[]),
];

const CORE: &[&str] = &[
    "model",
    "contract",
    "definition",
    "machine",
    "observe",
    "store",
    "executor",
    "identity",
    "runtime",
];
const COMPOSED: &[&str] = &[
    "model",
    "contract",
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
    let crates = crates();
    let circles = |modules: &Modules| -> Vec<String> {
        modules.cycles().iter().map(|group| circle(modules, group)).collect()
    };
    let told: Vec<String> = crates.iter().flat_map(circles).collect();
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
    for module in crates().iter().flat_map(|modules| modules.0.values()) {
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

/// Layers that say how the API is described: the contract its types, the face its routes.
const DESCRIBING: [&str; 2] = ["contract", "api"];
/// Layers on the way of a request or an answer, where its URLs are known.
const ROUTED: [&str; 7] = ["contract", "api", "dashboard", "config", "app", "cli", "main"];

#[test]
fn the_contract_alone_derives_schemas_and_below_it_nobody_builds_a_url() {
    let document = rethread::api::openapi();
    let routes = document.paths.paths.keys().filter_map(|path| Some(path.split_once('{')?.0));
    let routes: BTreeSet<String> = routes.map(|route| format!("\"{route}")).collect();
    assert!(routes.contains("\"/threads/"), "{routes:?}");
    let (mut faults, mut schemas) = (Vec::new(), 0);
    for (name, module) in &modules().0 {
        let layer = name.first().map_or("main", String::as_str);
        let text = fs::read_to_string(&module.file).unwrap();
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let derives = line.contains("ToSchema") && line.contains("derive");
            schemas += usize::from(derives);
            let described = line.contains("utoipa") && !DESCRIBING.contains(&layer);
            let url = !ROUTED.contains(&layer) && routes.iter().any(|route| line.contains(route));
            if described || url || (derives && layer != "contract") {
                faults.push(format!("{}: {line}", module.file.display()));
            }
        }
    }
    assert!(faults.is_empty(), "what belongs to the contract:\n{}", faults.join("\n"));
    assert!(schemas > 50, "{schemas} schemas are derived");
}

/// The crates of this workspace that a layer alone may use, with the layer.
const CRATES: &[(&str, &str)] = &[("bounded-jq", "definition")];

#[test]
fn each_crate_is_used_by_its_layer_alone() {
    for (name, layer) in CRATES {
        let ident = name.replace('-', "_");
        let modules = modules();
        let users = modules.0.iter().filter(|(_, module)| {
            fs::read_to_string(&module.file).unwrap().contains(&format!("{ident}::"))
        });
        let layers: BTreeSet<_> = users.filter_map(|(module, _)| module.first()).collect();
        assert_eq!(layers.into_iter().collect::<Vec<_>>(), [layer], "{name}");
    }
    let folders = fs::read_dir(root().join("crates")).unwrap();
    let folders = folders.map(|folder| folder.unwrap().file_name().into_string().unwrap());
    let known = CRATES.iter().map(|(name, _)| (*name).to_owned());
    assert_eq!(folders.collect::<BTreeSet<_>>(), known.collect());
}

/// The files of the server, and those of each crate.
fn crates() -> Vec<Modules> {
    let crates = CRATES.iter().map(|(name, _)| {
        let modules = Modules::read(&root().join("crates").join(name).join("src"));
        assert!(modules.0.len() > 1, "the files of {name} are found");
        modules
    });
    std::iter::once(modules()).chain(crates).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn modules() -> Modules {
    let modules = Modules::read(&root().join("src"));
    assert!(modules.0.len() > 100, "the files of src are found");
    modules
}
