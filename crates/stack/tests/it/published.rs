//! Every public type, trait, function, constant, and macro of the published crates is shown in an example that is
//! compiled, or its documentation says why it exists: a first sentence says what it is, and another one when or why to
//! use it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use syn::{Attribute, Item, Meta, UseTree, Visibility};

/// A public item.
struct Public {
    /// Its path in the crate.
    path: String,
    name: String,
    /// Its documentation, and that of its methods.
    docs: String,
    /// The file that it is in, if that is a public module.
    module: Option<String>,
}

/// What a crate shows to others.
#[derive(Default)]
struct Api {
    items: Vec<Public>,
    /// The documentation in each file.
    docs: BTreeMap<String, String>,
}

impl Api {
    /// Reads a module and those in it. Of a private module, only `exported` names are public.
    fn read(&mut self, file: &Path, path: &str, exported: Option<&BTreeSet<String>>) {
        let source = fs::read_to_string(file).unwrap();
        let parsed = syn::parse_file(&source).unwrap();
        let place = file.display().to_string();
        self.docs.insert(place.clone(), all_docs(&source));
        let mut reexported: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for item in &parsed.items {
            if let Item::Use(item) = item
                && matches!(item.vis, Visibility::Public(_))
            {
                reexports(&item.tree, &mut reexported);
            }
        }
        let methods = methods(&parsed.items);
        let is_public = |name: &str| exported.is_none_or(|exported| exported.contains(name));
        for item in &parsed.items {
            if let Item::Mod(module) = item {
                if module.content.is_some() || is_only_for(&module.attrs, "test") {
                    continue;
                }
                let name = module.ident.to_string();
                let file = below(file, &name);
                let names = reexported.get(&name).cloned().unwrap_or_default();
                let names: BTreeSet<String> = names.into_iter().filter(|name| is_public(name)).collect();
                let hidden = !matches!(module.vis, Visibility::Public(_)) || exported.is_some();
                let path = if hidden { path.to_owned() } else { format!("{path}::{name}") };
                self.read(&file, &path, hidden.then_some(&names));
            }
            for (name, docs, always) in declared(item) {
                if always || is_public(&name) {
                    let docs = [docs, methods.get(&name).cloned().unwrap_or_default()].concat();
                    let module = exported.is_none().then(|| place.clone());
                    self.items.push(Public { path: format!("{path}::{name}"), name, docs, module });
                }
            }
        }
    }

    /// The paths of the items that no example shows, and of which nothing says why they exist.
    fn unexplained(&self) -> Vec<&str> {
        let everywhere: String = self.docs.values().map(String::as_str).collect();
        let unexplained = self.items.iter().filter(|item| {
            // Modules have items of the same name, so one in a public module is shown in the file of the module.
            let docs = item.module.as_ref().map_or(&everywhere, |place| &self.docs[place]);
            !(item.docs.contains("```") || shown(docs).contains(item.name.as_str()) || has_reason(&item.docs))
        });
        unexplained.map(|item| item.path.as_str()).collect()
    }
}

/// The names, the documentation, and whether it is public wherever it stands, of what an item declares for others.
fn declared(item: &Item) -> Vec<(String, String, bool)> {
    let (name, attributes, visibility) = match item {
        Item::Struct(it) => (&it.ident, &it.attrs, &it.vis),
        Item::Enum(it) => (&it.ident, &it.attrs, &it.vis),
        Item::Trait(it) => (&it.ident, &it.attrs, &it.vis),
        Item::Type(it) => (&it.ident, &it.attrs, &it.vis),
        Item::Const(it) => (&it.ident, &it.attrs, &it.vis),
        Item::Fn(it) => (&it.sig.ident, &it.attrs, &it.vis),
        Item::Macro(it) => match &it.ident {
            Some(name) if it.attrs.iter().any(|attribute| attribute.path().is_ident("macro_export")) => {
                return vec![(name.to_string(), docs(&it.attrs), true)];
            }
            // The macros of the kit that declare types.
            None => return in_macro(&it.mac.tokens.to_string()),
            Some(_) => return Vec::new(),
        },
        _ => return Vec::new(),
    };
    match visibility {
        Visibility::Public(_) if !is_only_for(attributes, "doctest") => {
            vec![(name.to_string(), docs(attributes), false)]
        }
        _ => Vec::new(),
    }
}

/// The types that are declared by the arguments of a macro: `#[doc = "..."] pub struct Name`.
fn in_macro(tokens: &str) -> Vec<(String, String, bool)> {
    let mut found = Vec::new();
    let mut before = "";
    for part in tokens.split("pub struct ") {
        if !found.is_empty() || !before.is_empty() {
            let name: String = part.chars().take_while(|it| it.is_alphanumeric() || *it == '_').collect();
            found.push((name, before.rsplit(';').next().unwrap_or_default().to_owned(), false));
        }
        before = part;
    }
    found
}

/// The documentation of the methods of each type.
fn methods(items: &[Item]) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for item in items {
        if let Item::Impl(block) = item
            && let syn::Type::Path(path) = &*block.self_ty
            && let Some(name) = path.path.segments.last()
        {
            for item in &block.items {
                if let syn::ImplItem::Fn(method) = item {
                    found.entry(name.ident.to_string()).or_default().push_str(&docs(&method.attrs));
                }
            }
        }
    }
    found
}

fn docs(attributes: &[Attribute]) -> String {
    let mut text = String::new();
    for attribute in attributes {
        if let Meta::NameValue(pair) = &attribute.meta
            && pair.path.is_ident("doc")
            && let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(line), .. }) = &pair.value
        {
            text.push_str(line.value().trim());
            text.push('\n');
        }
    }
    text
}

/// Whether an item exists only under this condition.
fn is_only_for(attributes: &[Attribute], condition: &str) -> bool {
    let holds = |it: &Attribute| matches!(&it.meta, Meta::List(list) if list.tokens.to_string() == condition);
    attributes.iter().any(|it| it.path().is_ident("cfg") && holds(it))
}

/// The names that a `pub use` takes from each module of the crate.
fn reexports(tree: &UseTree, found: &mut BTreeMap<String, BTreeSet<String>>) {
    fn names(tree: &UseTree) -> BTreeSet<String> {
        match tree {
            UseTree::Name(name) => [name.ident.to_string()].into(),
            UseTree::Group(group) => group.items.iter().flat_map(names).collect(),
            UseTree::Path(path) => names(&path.tree),
            UseTree::Rename(_) | UseTree::Glob(_) => BTreeSet::new(),
        }
    }
    if let UseTree::Path(path) = tree {
        found.entry(path.ident.to_string()).or_default().extend(names(&path.tree));
    }
}

/// The file of a module that a file declares.
fn below(file: &Path, name: &str) -> std::path::PathBuf {
    let folder = match file.file_stem().unwrap().to_str().unwrap() {
        "lib" | "mod" => file.parent().unwrap().to_owned(),
        stem => file.with_file_name(stem),
    };
    let own = folder.join(format!("{name}.rs"));
    if own.is_file() { own } else { folder.join(name).join("mod.rs") }
}

/// The documentation lines of a file.
fn all_docs(source: &str) -> String {
    let lines = source.lines().map(str::trim_start);
    let lines = lines.filter_map(|line| line.strip_prefix("///").or_else(|| line.strip_prefix("//!")));
    lines.flat_map(|line| [line.trim(), "\n"]).collect()
}

/// The words in the examples of a documentation.
fn shown(docs: &str) -> BTreeSet<&str> {
    let examples = docs.split("```").skip(1).step_by(2);
    examples.flat_map(|example| example.split(|it: char| !(it.is_alphanumeric() || it == '_'))).collect()
}

/// Whether there is more than one sentence.
fn has_reason(docs: &str) -> bool {
    let text = docs.replace('\n', " ");
    text.split_once(". ").is_some_and(|(_, rest)| rest.split_whitespace().count() > 2)
}

fn api(source: &str) -> Api {
    let mut api = Api::default();
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    api.read(&lib, lib.ancestors().nth(2).unwrap().file_name().unwrap().to_str().unwrap(), None);
    api
}

#[test]
fn every_public_item_of_the_construct_kit_has_an_example_or_a_reason() {
    let api = api("../cfn-kit/src/lib.rs");
    let paths: Vec<&str> = api.items.iter().map(|item| item.path.as_str()).collect();
    for known in ["cfn-kit::Stack", "cfn-kit::resources::values::Port", "cfn-kit::checked_texts", "cfn-kit::sub"] {
        assert!(paths.contains(&known), "{known} is not among {paths:?}");
    }
    assert_eq!(api.unexplained(), [""; 0]);
}

#[test]
fn every_public_item_of_the_image_library_has_an_example_or_a_reason() {
    let api = api("../oci-image/src/lib.rs");
    let paths: Vec<&str> = api.items.iter().map(|item| item.path.as_str()).collect();
    assert!(paths.contains(&"oci-image::ImageError") && paths.contains(&"oci-image::push"), "{paths:?}");
    assert!(!paths.contains(&"oci-image::FilePart"), "{paths:?}");
    assert_eq!(api.unexplained(), [""; 0]);
}

#[test]
fn an_item_without_either_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let lib = folder.path().join("lib.rs");
    let source = "
        //! ```
        //! Shown::new();
        //! ```
        mod inner;
        pub use inner::Exported;
        /// A name.
        pub struct Shown;
        /// A name. It exists to keep names apart.
        pub struct WithReason;
        /// A name.
        pub struct Bare;
        /// A function.
        pub fn bare() {}
        pub(crate) struct Hidden;
        declare! {
            /// A number.
            pub struct Declared(u8);
        }
    ";
    fs::write(&lib, source.replace("\n        ", "\n")).unwrap();
    fs::write(folder.path().join("inner.rs"), "/// A name.\npub struct Exported;\n/// A name.\npub struct Kept;\n")
        .unwrap();
    let mut api = Api::default();
    api.read(&lib, "it", None);
    assert_eq!(api.unexplained(), ["it::Exported", "it::Bare", "it::bare", "it::Declared"]);
}
