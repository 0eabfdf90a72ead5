//! Which file of `src` uses which: paths are read from the syntax tree and followed through
//! re-exports to the file that defines the item.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// The names from the crate's root down to a module or an item.
pub(super) type Names = Vec<String>;

/// One file of production code.
#[derive(Default)]
pub(super) struct Module {
    pub(super) file: PathBuf,
    /// Paths in code and private imports, as absolute names.
    pub(super) uses: BTreeSet<Names>,
    /// What an imported or re-exported name stands for.
    imports: BTreeMap<String, Names>,
    /// Modules whose names are all re-exported.
    globs: Vec<Names>,
    items: BTreeSet<String>,
}

/// All files of production code by their module's names.
pub(super) struct Modules(pub(super) BTreeMap<Names, Module>);

impl Modules {
    /// Reads every file under `root` that is not test code.
    pub(super) fn read(root: &Path) -> Self {
        let mut files = Vec::new();
        let mut folders = vec![root.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    files.push(path);
                }
            }
        }
        files.retain(|file| !is_test_code(file.strip_prefix(root).unwrap()));
        let known = files.iter().map(|file| names(file.strip_prefix(root).unwrap())).collect();
        let modules = files.iter().map(|file| {
            let names = names(file.strip_prefix(root).unwrap());
            let tree = syn::parse_file(&fs::read_to_string(file).unwrap()).unwrap();
            (names.clone(), module(file, &names, &tree, &known))
        });
        Self(modules.collect())
    }

    /// The files that a module's file uses.
    pub(super) fn used_by(&self, name: &Names) -> BTreeSet<&Names> {
        self.used_items(name).map(|(file, _)| file).collect()
    }

    /// The files that a module's file uses, with each path that leads to one.
    pub(super) fn used_items(&self, name: &Names) -> impl Iterator<Item = (&Names, &Names)> {
        let found =
            self.0[name].uses.iter().filter_map(|path| Some((self.definer(path, 0)?, path)));
        found.filter(move |(file, _)| *file != name)
    }

    /// The module whose file defines what a path names.
    fn definer(&self, path: &[String], depth: usize) -> Option<&Names> {
        if depth > 16 {
            return None;
        }
        let at = (1..=path.len()).rev().find_map(|end| self.0.get_key_value(&path[..end]))?;
        let (name, module) = at;
        let Some(item) = path.get(name.len()) else { return Some(name) };
        if let Some(target) = module.imports.get(item) {
            let rest = &path[name.len() + 1..];
            return self.definer(&[target.as_slice(), rest].concat(), depth + 1);
        }
        let through_glob = || {
            let paths =
                module.globs.iter().map(|glob| [glob.as_slice(), &path[name.len()..]].concat());
            let mut found = paths.filter(|path| self.defines(path));
            found.find_map(|path| self.definer(&path, depth + 1))
        };
        if module.items.contains(item) { Some(name) } else { through_glob().or(Some(name)) }
    }

    fn defines(&self, path: &[String]) -> bool {
        let module = path.split_last().and_then(|(item, module)| Some((item, self.0.get(module)?)));
        module.is_some_and(|(item, module)| {
            module.items.contains(item) || module.imports.contains_key(item)
        })
    }

    /// Groups of files that use each other in a circle, each in order of names.
    pub(super) fn cycles(&self) -> Vec<Vec<&Names>> {
        let used: BTreeMap<&Names, BTreeSet<&Names>> =
            self.0.keys().map(|name| (name, self.used_by(name))).collect();
        let reached: BTreeMap<&Names, BTreeSet<&Names>> =
            used.keys().map(|name| (*name, reach(name, &used))).collect();
        let mut groups = BTreeSet::new();
        for (name, all) in &reached {
            if all.contains(name) {
                let group = all.iter().filter(|other| reached[**other].contains(name));
                groups.insert(group.copied().collect::<Vec<_>>());
            }
        }
        groups.into_iter().collect()
    }
}

/// Everything that can be reached from a file by one use or more.
fn reach<'a>(from: &Names, used: &BTreeMap<&'a Names, BTreeSet<&'a Names>>) -> BTreeSet<&'a Names> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&Names> = used[from].iter().copied().collect();
    while let Some(name) = open.pop() {
        if reached.insert(name) {
            open.extend(&used[name]);
        }
    }
    reached
}

/// Whether a file, by its path under `src`, is test code.
pub(super) fn is_test_code(file: &Path) -> bool {
    let named = |name: &str| ["tests", "testing", "fuzz"].contains(&name);
    file.with_extension("").components().any(|part| part.as_os_str().to_str().is_some_and(named))
}

fn names(file: &Path) -> Names {
    let mut names: Names = file
        .with_extension("")
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    if names.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        names.pop();
    }
    names
}

fn module(file: &Path, names: &Names, tree: &syn::File, known: &BTreeSet<Names>) -> Module {
    let made = Module { file: file.to_path_buf(), ..Module::default() };
    let mut reader = Reader { names, known, module: made };
    reader.visit_file(tree);
    reader.module
}

struct Reader<'a> {
    names: &'a Names,
    known: &'a BTreeSet<Names>,
    module: Module,
}

impl Reader<'_> {
    /// The absolute names of a path, if it leads to the crate's own code.
    fn absolute(&self, path: &[String]) -> Option<Names> {
        let first = path.first()?;
        let mut names = match first.as_str() {
            "crate" => Vec::new(),
            "self" | "super" => self.names.clone(),
            local => {
                let child = [self.names.as_slice(), &[local.to_owned()]].concat();
                if self.known.contains(&child) {
                    child
                } else {
                    self.module.imports.get(local)?.clone()
                }
            }
        };
        let ups = path.iter().take_while(|part| *part == "super").count();
        names.truncate(names.len() - ups.min(names.len()));
        let skip = ups.max(1) + usize::from(ups > 0 && path.get(ups).is_some_and(|p| p == "self"));
        names.extend(path.iter().skip(skip).cloned());
        Some(names)
    }

    fn import(&mut self, tree: &syn::UseTree, path: &mut Names, exported: bool) {
        let (end, name) = match tree {
            syn::UseTree::Path(part) => {
                path.push(part.ident.to_string());
                self.import(&part.tree, path, exported);
                path.pop();
                return;
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, path, exported);
                }
                return;
            }
            syn::UseTree::Glob(_) => {
                let Some(target) = self.absolute(path) else { return };
                self.module.globs.push(target);
                return;
            }
            syn::UseTree::Name(name) => (name.ident.to_string(), name.ident.to_string()),
            syn::UseTree::Rename(name) => (name.ident.to_string(), name.rename.to_string()),
        };
        let itself = end == "self" && !path.is_empty();
        let name = if itself && name == "self" { path[path.len() - 1].clone() } else { name };
        let full = if itself { path.clone() } else { [path.as_slice(), &[end]].concat() };
        let Some(target) = self.absolute(&full) else { return };
        // A folder that only shows what its files define uses none of them.
        if !exported {
            self.module.uses.insert(target.clone());
        }
        self.module.imports.insert(name, target);
    }

    /// Paths among the tokens of a macro, which have no syntax of their own.
    fn tokens(&mut self, text: &str) {
        let text = text.replace(" :: ", "::");
        for path in text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')) {
            let path: Names = path.split("::").map(str::to_owned).collect();
            if path.len() > 1 {
                self.module.uses.extend(self.absolute(&path));
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_file(&mut self, file: &'ast syn::File) {
        // Imports first: paths further up may begin with a name that they bring.
        let items = || file.items.iter().filter(|item| !is_for_tests(item));
        for item in items() {
            if let syn::Item::Use(item) = item {
                let exported = !matches!(item.vis, syn::Visibility::Inherited);
                self.import(&item.tree, &mut Vec::new(), exported);
            }
        }
        for item in items() {
            self.module.items.extend(name_of(item));
            self.visit_item(item);
        }
    }

    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_for_tests(item) {
            visit::visit_item(self, item);
        }
    }

    /// `pub(super)` is no use of the folder above.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Names = path.segments.iter().map(|part| part.ident.to_string()).collect();
        self.module.uses.extend(self.absolute(&parts));
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(&call.tokens.to_string());
        visit::visit_macro(self, call);
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "syn may add kinds of items")]
fn is_for_tests(item: &syn::Item) -> bool {
    let attributes = match item {
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Const(item) => &item.attrs,
        _ => return false,
    };
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else { return false };
        list.path.is_ident("cfg") && list.tokens.to_string() == "test"
    })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "syn may add kinds of items")]
fn name_of(item: &syn::Item) -> Option<String> {
    let name = match item {
        syn::Item::Fn(item) => &item.sig.ident,
        syn::Item::Struct(item) => &item.ident,
        syn::Item::Enum(item) => &item.ident,
        syn::Item::Trait(item) => &item.ident,
        syn::Item::Type(item) => &item.ident,
        syn::Item::Const(item) => &item.ident,
        syn::Item::Static(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}
