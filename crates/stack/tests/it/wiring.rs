//! Wrong wiring does not compile. Each case is a few lines of Rust with one identifier in two forms: with the right one
//! they compile, with the wrong one they do not, and the error of the compiler matches the reviewed snapshot.

mod cases;
mod compiler;

use cases::CASES;
use compiler::{Compiler, Mistake};

/// All cases as one program, each in a separate module, and the first line of each.
fn program(wrong: bool) -> (String, Vec<usize>) {
    let mut text = String::from(cases::COMMON);
    let mut begins = Vec::new();
    for (number, case) in CASES.iter().enumerate() {
        begins.push(text.lines().count() + 1);
        let word = if wrong { case.wrong } else { case.right };
        assert_eq!(case.code.matches("WORD").count(), 1, "{}", case.name);
        text += &format!("mod case{number} {{\nuse super::*;\n{}\n}}\n", case.code.replace("WORD", word));
    }
    (text, begins)
}

#[test]
fn right_wiring_compiles() {
    let (text, _) = program(false);
    let mistakes = Compiler::find().check(&text);
    assert!(mistakes.is_empty(), "{mistakes:#?}");
}

#[test]
fn wrong_wiring_does_not_compile_and_the_compiler_says_why() {
    let (text, begins) = program(true);
    let mistakes = Compiler::find().check(&text);
    let mut said = vec![Vec::new(); CASES.len()];
    for Mistake { line, code, message } in mistakes {
        let case = begins.partition_point(|begin| *begin <= line) - 1;
        said[case].push(format!("{code}: {message}"));
    }
    let report: Vec<String> = CASES
        .iter()
        .zip(&said)
        .map(|(case, said)| {
            assert_eq!(said.len(), 1, "{}: one mistake, and one reason: {said:?}", case.name);
            format!("{}\n  {} instead of {}\n  {}\n", case.name, case.wrong, case.right, said[0])
        })
        .collect();
    insta::assert_snapshot!(report.join("\n"));
}
