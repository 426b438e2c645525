//! Runs the Rust compiler on a program with the libraries that this test was built with, so that nothing is rebuilt.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use serde_json::Value;

/// The compiler, and the library that programs are checked against.
pub struct Compiler {
    stack: PathBuf,
    cfn_kit: PathBuf,
}

/// The errors of the compiler.
#[derive(Debug)]
pub struct Mistake {
    pub line: usize,
    pub code: String,
    pub message: String,
}

impl Compiler {
    /// The libraries that this test is linked with: the newest ones in its folder that are not newer than the test, and
    /// that are compatible. (Cargo keeps libraries of earlier builds there.)
    pub fn find() -> Self {
        let me = std::env::current_exe().unwrap();
        let built = |path: &Path| std::fs::metadata(path).and_then(|data| data.modified()).unwrap();
        let candidates = |start: &str| {
            let mut found: Vec<(SystemTime, PathBuf)> = std::fs::read_dir(me.parent().unwrap())
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| {
                    let name = path.file_name().unwrap().to_string_lossy();
                    name.starts_with(start) && name.ends_with(".rlib")
                })
                .map(|path| (built(&path), path))
                .filter(|(time, _)| *time <= built(&me))
                .collect();
            found.sort();
            found.into_iter().rev().map(|(_, path)| path).collect::<Vec<_>>()
        };
        // They are compatible if a type of one is the same type in the other.
        let probe = "pub fn add(template: stack::Settings) -> Result<cfn_kit::Template, Vec<cfn_kit::SynthError>> \
                     { stack::synthesize(&template) }";
        let pairs = candidates("libstack-").into_iter().flat_map(|stack| {
            candidates("libcfn_kit-").into_iter().map(move |cfn_kit| Self { stack: stack.clone(), cfn_kit })
        });
        let usable = |libraries: &Self| libraries.check(probe).is_empty();
        pairs.into_iter().find(usable).expect("the libraries are beside the test that uses them")
    }

    /// The errors in a program, in the order of its lines.
    pub fn check(&self, program: &str) -> Vec<Mistake> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("program.rs");
        std::fs::write(&file, program).unwrap();
        let dependencies = self.stack.parent().unwrap().display();
        let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
            .args(["--edition", "2024", "--crate-type", "lib", "--emit", "metadata", "--cap-lints", "allow"])
            .args(["--error-format", "json", "-L", &format!("dependency={dependencies}")])
            .args(["--extern", &format!("stack={}", self.stack.display())])
            .args(["--extern", &format!("cfn_kit={}", self.cfn_kit.display())])
            .arg("--out-dir")
            .arg(folder.path())
            .arg(&file)
            .output()
            .expect("rustc is there, as this test was built with it");
        let said = String::from_utf8(output.stderr).unwrap();
        let mut mistakes: Vec<Mistake> = said.lines().filter_map(mistake).collect();
        assert_eq!(output.status.success(), mistakes.is_empty(), "{said}");
        mistakes.sort_by_key(|mistake| mistake.line);
        mistakes
    }
}

/// The error in a line of the compiler's JSON, if there is one.
fn mistake(line: &str) -> Option<Mistake> {
    let said: Value = serde_json::from_str(line).unwrap();
    let place = said["spans"].as_array()?.iter().find(|span| span["is_primary"] == true);
    // A message with neither a place nor a code only counts the others.
    if said["level"] != "error" || (place.is_none() && said["code"].is_null()) {
        return None;
    }
    Some(Mistake {
        line: place.and_then(|span| usize::try_from(span["line_start"].as_u64()?).ok()).unwrap_or_default(),
        code: said["code"]["code"].as_str().unwrap_or("no code").to_owned(),
        message: message(&said),
    })
}

/// The message, with its labels, which name the types.
fn message(said: &Value) -> String {
    let place = said["spans"].as_array().into_iter().flatten().find(|span| span["is_primary"] == true);
    let label = place.and_then(|span| span["label"].as_str()).unwrap_or_default();
    let message = said["message"].as_str().unwrap_or_default();
    if label.is_empty() { message.to_owned() } else { format!("{message}: {label}") }
}
