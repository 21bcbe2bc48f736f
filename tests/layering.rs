//! Dependencies between modules point one way: between the modules of a crate by the table below, and between the files
//! of a folder in no circle.
//!
//! The test parses every source file and resolves every path in it: whole `use` trees, paths in expressions, types and
//! patterns, and paths in the arguments of macros. Code under `#[cfg(test)]` may use anything.

#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// The crates: their names in paths and the files they begin with.
const CRATES: &[(&str, &str)] =
    &[("aint_queue_core", "crates/core/src/lib.rs"), ("aint_queue", "src/lib.rs")];

/// The modules whose contents the root of their crate shows as its own.
const TRANSPARENT: &[&str] = &["engine"];

/// Which modules each module may use. Names are those of both crates; a module below another one narrows the permission.
const ALLOWED: &[(&str, &[&str])] = &[
    // crates/core
    ("log_macros", &[]),
    ("mutex", &[]),
    ("durations", &[]),
    ("trust", &[]),
    ("dangling_link", &[]),
    ("known_directories", &["mutex"]),
    ("access", &["trust"]),
    ("suggest", &[]),
    ("condition", &["suggest"]),
    ("job", &["durations"]),
    ("config", &["job", "trust", "access", "dangling_link", "known_directories", "suggest", "condition"]),
    ("middleware", &["job"]),
    (
        "store",
        &[
            "job",
            "config",
            "limits::rate",
            "log_macros",
            "mutex",
            "durations",
            "trust",
            "access",
            "dangling_link",
            "known_directories",
        ],
    ),
    ("otel", &["job", "config", "store"]),
    ("queue", &["job", "config", "store", "otel"]),
    ("queue_set", &["job", "config", "store", "queue", "mutex"]),
    ("limits", &["job", "store", "durations"]),
    ("retry", &["job", "config", "store"]),
    ("executor", &["job", "otel"]),
    ("job_json", &["job", "config", "durations", "suggest"]),
    (
        "in_process",
        &[
            "job",
            "config",
            "store",
            "queue",
            "queue_set",
            "limits",
            "retry",
            "executor",
            "log_macros",
            "mutex",
        ],
    ),
    // the engine
    ("fd", &[]),
    ("protected_memory", &[]),
    ("producer_memory", &[]),
    ("sanitize", &[]),
    ("open_files", &[]),
    ("private_file", &["trust"]),
    ("activity", &["job", "mutex"]),
    ("wording", &["job", "job_json::time"]),
    ("logging", &["mutex", "private_file", "sanitize"]),
    ("wire", &["job", "durations"]),
    ("guardian", &["config::passed_env", "fd", "mutex", "open_files", "protected_memory"]),
    (
        "pool",
        &[
            "job",
            "config::plan",
            "durations",
            "mutex",
            "wire",
            "guardian",
            "logging",
            "open_files",
            "producer_memory",
            "sanitize",
        ],
    ),
    ("metrics", &["job::record", "pool", "store", "mutex"]),
    (
        "channel",
        &[
            "job",
            "job_json",
            "durations",
            "wire",
            "config",
            "store",
            "limits",
            "retry",
            "pool",
            "metrics",
            "otel",
        ],
    ),
    ("span_export", &["config", "otel", "mutex"]),
    (
        "snapshot",
        &[
            "job",
            "condition",
            "config",
            "store",
            "guardian",
            "pool",
            "metrics",
            "mutex",
            "channel",
            "sanitize",
        ],
    ),
    (
        "alerts",
        &[
            "job",
            "condition",
            "config",
            "store",
            "guardian",
            "mutex",
            "sanitize",
            "private_file",
            "webhook::connector",
            "webhook::http_client",
            "webhook::signature",
            "snapshot",
            "metrics",
            "channel::status",
            "wording",
        ],
    ),
    ("control", &["job", "store", "pool", "channel", "snapshot", "access", "trust"]),
    ("why", &["job", "store", "pool", "channel", "sanitize", "wording"]),
    ("worker", &["job", "job_json", "wire", "fd", "executor"]),
    ("webhook", &["job", "config::webhook", "protected_memory", "sanitize", "worker"]),
    (
        "http",
        &["job", "config", "store", "queue", "queue_set", "job_json", "metrics", "mutex", "producer_memory"],
    ),
    (
        "dashboard",
        &[
            "job",
            "mutex",
            "condition",
            "job_json",
            "config",
            "store",
            "queue",
            "queue_set",
            "guardian::process_list",
            "channel",
            "control",
            "pool",
            "metrics",
            "snapshot",
            "alerts",
            "activity",
            "why",
            "http",
            "sanitize",
        ],
    ),
    (
        "master",
        &[
            "job",
            "durations",
            "mutex",
            "fd",
            "config",
            "store",
            "retry",
            "pool",
            "producer_memory",
            "protected_memory",
            "guardian",
            "span_export",
            "channel",
            "snapshot",
            "alerts",
            "control",
            "metrics",
            "http",
            "dashboard",
            "activity",
            "queue_set",
            "webhook",
            "logging",
            "open_files",
            "trust",
            "dangling_link",
            "known_directories",
            "access",
        ],
    ),
    // the root package
    ("testing", &["job", "config", "store", "queue", "retry", "in_process", "mutex", "app"]),
    (
        "cli",
        &[
            "job",
            "suggest",
            "condition",
            "durations",
            "mutex",
            "config",
            "store",
            "queue",
            "in_process",
            "job_json",
            "activity",
            "channel",
            "pool",
            "control",
            "master",
            "snapshot",
            "alerts",
            "why",
            "wording",
            "metrics",
            "http",
            "dashboard",
            "webhook::connector",
            "logging",
            "private_file",
            "sanitize",
            "retry",
            "span_export",
            "demo_jobs",
            "trust",
            "dangling_link",
            "access",
            "guardian::process_list",
        ],
    ),
    (
        "app",
        &[
            "job",
            "config",
            "queue",
            "in_process",
            "cli",
            "snapshot",
            "worker",
            "webhook",
            "guardian",
            "demo_jobs",
        ],
    ),
    ("demo_jobs", &["job", "worker"]),
];

/// The modules that may start processes.
const SYSTEM: &[&str] = &["guardian", "master", "fd"];

/// A module: its place in its crate, its file, its code.
struct Module {
    /// The crate, then the modules: `["aint_queue", "store", "sqlite"]`.
    path: Vec<String>,
    file: PathBuf,
    code: Reader,
}

/// A path in the code, as written.
struct Mention {
    path: Vec<String>,
    line: usize,
}

/// The dependencies that the code of one module states.
#[derive(Default)]
struct Reader {
    mentions: Vec<Mention>,
    /// Names that `use` declarations bring in, and what they stand for.
    imports: Vec<(String, Vec<String>)>,
    children: BTreeSet<String>,
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    use syn::Item::*;
    match item {
        Const(i) => &i.attrs,
        Enum(i) => &i.attrs,
        ExternCrate(i) => &i.attrs,
        Fn(i) => &i.attrs,
        ForeignMod(i) => &i.attrs,
        Impl(i) => &i.attrs,
        Macro(i) => &i.attrs,
        Mod(i) => &i.attrs,
        Static(i) => &i.attrs,
        Struct(i) => &i.attrs,
        Trait(i) => &i.attrs,
        TraitAlias(i) => &i.attrs,
        Type(i) => &i.attrs,
        Union(i) => &i.attrs,
        Use(i) => &i.attrs,
        _ => &[],
    }
}

fn is_test_only(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || (attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test")))
    })
}

/// The value of `#[path = "…"]`.
fn path_attribute(attributes: &[syn::Attribute]) -> Option<String> {
    attributes.iter().find(|a| a.path().is_ident("path")).and_then(|a| {
        match &a.meta.require_name_value().ok()?.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        }
    })
}

impl<'a> Visit<'a> for Reader {
    fn visit_item(&mut self, item: &'a syn::Item) {
        if !is_test_only(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'a syn::ImplItemFn) {
        if !is_test_only(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    /// A module of its own is read as such.
    fn visit_item_mod(&mut self, module: &'a syn::ItemMod) {
        self.children.insert(module.ident.to_string());
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        self.import(&mut Vec::new(), &item.tree);
    }

    /// `pub(in …)` names who may see an item, not what the code uses.
    fn visit_vis_restricted(&mut self, _: &'a syn::VisRestricted) {}

    fn visit_attribute(&mut self, _: &'a syn::Attribute) {}

    fn visit_path(&mut self, path: &'a syn::Path) {
        let names = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.mentions.push(Mention { path: names, line: path.span().start().line });
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'a syn::Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }
}

impl Reader {
    fn import(&mut self, above: &mut Vec<String>, tree: &syn::UseTree) {
        let line = tree.span().start().line;
        match tree {
            syn::UseTree::Path(path) => {
                above.push(path.ident.to_string());
                self.import(above, &path.tree);
                above.pop();
            }
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(above, tree)),
            syn::UseTree::Glob(_) => self.mentions.push(Mention { path: above.clone(), line }),
            syn::UseTree::Name(syn::UseName { ident }) => self.name(above, ident, ident, line),
            syn::UseTree::Rename(syn::UseRename { ident, rename, .. }) => {
                self.name(above, ident, rename, line)
            }
        }
    }

    fn name(&mut self, above: &[String], ident: &syn::Ident, known_as: &syn::Ident, line: usize) {
        let mut path = above.to_vec();
        if ident != "self" {
            path.push(ident.to_string());
        }
        let known_as = if known_as == "self" { path.last().cloned() } else { Some(known_as.to_string()) };
        self.imports.extend(known_as.map(|name| (name, path.clone())));
        self.mentions.push(Mention { path, line });
    }

    /// Paths in the arguments of a macro: names joined by `::`.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let colons = |at: usize| matches!(&tokens[at..], [TokenTree::Punct(a), TokenTree::Punct(b), ..] if a.as_char() == ':' && b.as_char() == ':');
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(first) => {
                    let line = first.span().start().line;
                    let mut path = vec![first.to_string()];
                    while at + 3 < tokens.len()
                        && colons(at + 1)
                        && let TokenTree::Ident(next) = &tokens[at + 3]
                    {
                        path.push(next.to_string());
                        at += 3;
                    }
                    self.mentions.push(Mention { path, line });
                }
                _ => {}
            }
            at += 1;
        }
    }
}

/// Reads a file and the modules below it; `dir` is where files of its modules are.
fn load(path: Vec<String>, file: &Path, dir: &Path, found: &mut Vec<Module>) {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    descend(path, file, Some(dir), parsed.items, found);
}

/// Adds a module and those below it. Without a directory, only those that are within the file.
fn descend(
    path: Vec<String>,
    file: &Path,
    dir: Option<&Path>,
    items: Vec<syn::Item>,
    found: &mut Vec<Module>,
) {
    for item in &items {
        let syn::Item::Mod(module) = item else { continue };
        if is_test_only(&module.attrs) {
            continue;
        }
        let name = module.ident.to_string();
        let inner: Vec<_> = path.iter().cloned().chain([name.clone()]).collect();
        let given = path_attribute(&module.attrs);
        if let Some((_, items)) = &module.content {
            let dir = dir.map(|dir| dir.join(given.as_deref().unwrap_or(&name)));
            descend(inner, file, dir.as_deref(), items.clone(), found);
            continue;
        }
        let Some(dir) = dir else { continue };
        if let Some(given) = given {
            let file = file.parent().unwrap().join(given);
            load(inner, &file, file.parent().unwrap(), found);
        } else {
            let flat = dir.join(format!("{name}.rs"));
            let file = if flat.exists() { flat } else { dir.join(&name).join("mod.rs") };
            load(inner, &file, &dir.join(&name), found);
        }
    }
    let mut code = Reader::default();
    items.iter().for_each(|item| code.visit_item(item));
    found.push(Module { path, file: file.to_owned(), code });
}

/// The modules of all crates.
struct Sources {
    modules: Vec<Module>,
    index: BTreeMap<Vec<String>, usize>,
}

impl Sources {
    fn new(modules: Vec<Module>) -> Self {
        let index = modules.iter().enumerate().map(|(n, module)| (module.path.clone(), n)).collect();
        Self { modules, index }
    }

    /// Reads crates from their first files; those that do not exist yet are passed over.
    fn of_this_package() -> Self {
        let mut found = Vec::new();
        for (name, root) in CRATES.iter().filter(|(_, root)| Path::new(root).exists()) {
            load(vec![(*name).to_owned()], Path::new(root), Path::new(root).parent().unwrap(), &mut found);
        }
        Self::new(found)
    }

    /// Resolves a path in a module to the module that has the item and the rest of the path; `None` for other crates.
    fn resolve(&self, module: &[String], path: &[String]) -> Option<(usize, Vec<String>)> {
        self.resolve_within(module, path, 16)
    }

    fn resolve_within(&self, module: &[String], path: &[String], steps: u32) -> Option<(usize, Vec<String>)> {
        let steps = steps.checked_sub(1)?;
        let (first, rest) = path.split_first()?;
        let (mut at, mut rest) = match first.as_str() {
            "crate" => (vec![module[0].clone()], rest),
            "self" => (module.to_vec(), rest),
            "super" => (module[..module.len() - 1].to_vec(), rest),
            name if CRATES.iter().any(|(known, _)| *known == name) => (vec![name.to_owned()], rest),
            _ => (module.to_vec(), path),
        };
        let relative = rest.len() == path.len();
        while let Some((next, after)) = rest.split_first() {
            if next == "super" {
                at.pop();
                rest = after;
                continue;
            }
            let code = &self.modules[*self.index.get(&at)?].code;
            if code.children.contains(next) {
                at.push(next.clone());
                if !self.index.contains_key(&at) {
                    return None; // a module of tests
                }
                rest = after;
                continue;
            }
            let Some((_, target)) = code.imports.iter().find(|(name, _)| name == next) else { break };
            if *target == path && at == module {
                return None;
            }
            let whole: Vec<_> = target.iter().chain(after).cloned().collect();
            return self.resolve_within(&at, &whole, steps);
        }
        if relative && at == module && rest.len() == path.len() {
            return None; // a name of this file, of the prelude, or of a crate of others
        }
        Some((*self.index.get(&at)?, rest.to_vec()))
    }
}

/// The module of the table that a module belongs to: the first name below the crate.
fn layer(path: &[String]) -> Option<&str> {
    path[1..].iter().map(String::as_str).find(|name| !TRANSPARENT.contains(name))
}

/// The path below the crate as text: `config::plan`.
fn inside(path: &[String]) -> String {
    path[1..]
        .iter()
        .map(String::as_str)
        .filter(|name| !TRANSPARENT.contains(name))
        .collect::<Vec<_>>()
        .join("::")
}

/// Uses that the table does not allow.
fn forbidden_uses(sources: &Sources) -> Vec<String> {
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    let mut wrong = BTreeSet::new();
    for module in &sources.modules {
        let Some(own) = layer(&module.path) else { continue };
        let file = module.file.display();
        let Some(may) = allowed.get(own) else {
            wrong.insert(format!("{file}: the module \"{own}\" has no line in this test"));
            continue;
        };
        for Mention { path, line } in &module.code.mentions {
            if let Some((target, _)) = sources.resolve(&module.path, path) {
                let target = &sources.modules[target].path;
                let Some(used) = layer(target) else { continue };
                let place = inside(target);
                let fits = may.iter().any(|m| place == *m || place.starts_with(&format!("{m}::")));
                if used != own && !fits {
                    wrong.insert(format!(
                        "{file}:{line}: \"{own}\" may not use {place} ({})",
                        path.join("::")
                    ));
                }
            }
            let system = matches!(
                path.join("::").as_str(),
                "std::process::Command" | "tokio::process::Command" | "nix::unistd::fork"
            );
            if system && !SYSTEM.contains(&own) {
                wrong.insert(format!("{file}:{line}: only {SYSTEM:?} start processes"));
            }
        }
    }
    wrong.into_iter().collect()
}

/// Which files of a folder use which others of it, by folder. A folder within counts as one; the `mod.rs` of a folder is no
/// part of it, since it joins the others.
fn uses_within_folders(sources: &Sources) -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
    let mut folders: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for module in &sources.modules {
        for mention in &module.code.mentions {
            let Some((target, _)) = sources.resolve(&module.path, &mention.path) else { continue };
            let target = &sources.modules[target].path;
            let shared = module.path.iter().zip(target).take_while(|(a, b)| a == b).count();
            // At the root of a crate the table decides.
            if shared > 1
                && layer(&module.path[..shared]).is_some()
                && let (Some(user), Some(used)) = (module.path.get(shared), target.get(shared))
            {
                let folder = folders.entry(module.path[..shared].join("::")).or_default();
                folder.entry(user.clone()).or_default().insert(used.clone());
            }
        }
    }
    folders
}

/// The circles of a folder: files that reach each other.
fn circles(uses: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<Vec<&str>> {
    let reach = |from| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(next) = open.pop() {
            open.extend(
                uses.get(next).into_iter().flatten().map(String::as_str).filter(|used| seen.insert(*used)),
            );
        }
        seen
    };
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        uses.keys().map(|file| (file.as_str(), reach(file.as_str()))).collect();
    let mut found = BTreeSet::new();
    for (file, from) in &reached {
        let leads_back = |other: &&str| reached.get(other).is_some_and(|back| back.contains(file));
        let circle: Vec<&str> = from.iter().copied().filter(leads_back).collect();
        if circle.len() > 1 {
            found.insert(circle);
        }
    }
    found
}

static SOURCES: LazyLock<Sources> = LazyLock::new(Sources::of_this_package);

#[test]
fn modules_use_only_lower_layers() {
    assert!(SOURCES.modules.len() > 100, "the sources are where this test looks: {}", SOURCES.modules.len());
    let wrong = forbidden_uses(&SOURCES);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn files_of_a_folder_use_each_other_one_way() {
    let folders = uses_within_folders(&SOURCES);
    let mut wrong = Vec::new();
    for (folder, uses) in &folders {
        for circle in circles(uses) {
            let inside = |used: &BTreeSet<String>| {
                used.iter().filter(|f| circle.contains(&f.as_str())).cloned().collect::<Vec<_>>()
            };
            let uses =
                circle.iter().map(|file| format!("\n    {file} uses {}", inside(&uses[*file]).join(", ")));
            wrong.push(format!("{folder}: a circle{}", uses.collect::<String>()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// A crate of modules with the code given; those below others follow them.
fn sample(modules: &[(&str, &str)]) -> Sources {
    let root: String =
        modules.iter().filter(|(n, _)| !n.contains("::")).map(|(n, _)| format!("mod {n};")).collect();
    let mut found = Vec::new();
    for (name, code) in [("", root.as_str())].iter().chain(modules) {
        let path = std::iter::once("aint_queue").chain(name.split("::").filter(|part| !part.is_empty()));
        let items = syn::parse_file(code).unwrap().items;
        descend(
            path.map(str::to_owned).collect(),
            Path::new(&format!("src/{name}.rs")),
            None,
            items,
            &mut found,
        );
    }
    Sources::new(found)
}

#[test]
fn forbidden_uses_are_found_in_every_form() {
    let others: &[(&str, &str)] = &[
        ("job", "pub struct JobId;"),
        ("pool", "pub struct Pool; pub mod plan; pub use plan::Plan;"),
        ("pool::plan", "pub struct Plan;"),
        ("wire", ""),
    ];
    let wrong = |code: &str| !forbidden_uses(&sample(&[others, &[("store", code)]].concat())).is_empty();
    for code in [
        "use crate::pool::Pool;",
        "use crate::{job::JobId, pool::{Pool, plan}};",
        "use crate::pool as p;",
        "use super::pool::Pool;",
        "fn f() { let x = crate::pool::Pool; }",
        "fn f(x: crate::pool::Plan) {}",
        "fn f() { println!(\"{:?}\", crate::pool::Pool); }",
        "mod inner { use super::super::pool::Pool; }",
        "use std::process::{Command, Stdio};",
    ] {
        assert!(wrong(code), "{code}");
    }
    for code in [
        "use crate::job::JobId; // crate::pool",
        "/// See crate::pool::Pool.\nfn f() {}",
        "#[cfg(test)] mod tests { use crate::pool::Pool; }",
        "#[cfg(test)] use crate::pool::Pool;",
        "use std::process::Stdio;",
        "fn pool() {} fn f() { pool(); }",
    ] {
        assert!(!wrong(code), "{code}");
    }
    assert!(!forbidden_uses(&sample(&[("unlisted", "")])).is_empty());
}

#[test]
fn circles_are_found_through_re_exports() {
    let found = |a: &str, b: &str| {
        let parts = [("store", "mod a; mod b; pub use a::A; struct Own;"), ("store::a", a), ("store::b", b)];
        uses_within_folders(&sample(&parts)).values().any(|uses| !circles(uses).is_empty())
    };
    assert!(found("use super::b::B; pub struct A;", "use super::a::A; pub struct B;"));
    assert!(found("use super::b::B; pub struct A;", "use super::A; pub struct B;"));
    assert!(found("use super::b::B; pub struct A;", "pub struct B; fn f(a: crate::store::A) {}"));
    assert!(!found("use super::b::B; pub struct A;", "use super::Own; pub struct B;"));
    assert!(!found("pub struct A;", "use super::a::A; pub struct B;"));
}
