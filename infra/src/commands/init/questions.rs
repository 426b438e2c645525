//! The questions of `init`. A person at a terminal is asked again after an invalid answer; an invalid option is an error.

use std::fmt::Display;

use crate::error::{Doing as _, Error, Result};

/// Answers the questions about missing arguments.
pub(super) trait Ask {
    /// The answer to a question, or the default if it is empty.
    fn ask(&mut self, question: &str, default: &str) -> Result<String>;

    /// Whether somebody answers. If so, an invalid answer can be corrected.
    fn is_person(&self) -> bool;
}

/// A person at a terminal.
#[derive(Debug)]
pub(super) struct Terminal;

impl Ask for Terminal {
    fn ask(&mut self, question: &str, default: &str) -> Result<String> {
        let offer = if default.is_empty() { String::new() } else { format!(" [{default}]") };
        eprint!("{question}{offer}: ");
        let mut answer = String::new();
        let read = std::io::stdin().read_line(&mut answer).doing(|| "read the answer".to_owned())?;
        if read == 0 {
            return Err(Error::refused("no answer to a question: no file was written"));
        }
        let answer = answer.trim();
        Ok(if answer.is_empty() { default } else { answer }.to_owned())
    }

    fn is_person(&self) -> bool {
        true
    }
}

/// Nobody: every answer is the default.
#[derive(Debug)]
pub(super) struct Nobody;

impl Ask for Nobody {
    fn ask(&mut self, _: &str, default: &str) -> Result<String> {
        Ok(default.to_owned())
    }

    fn is_person(&self) -> bool {
        false
    }
}

/// A question, with the option that answers it on the command line.
pub(super) struct Question<'a> {
    pub(super) option: &'static str,
    /// What was given for the option.
    pub(super) given: Option<&'a str>,
    pub(super) text: &'static str,
    pub(super) default: &'a str,
}

impl Question<'_> {
    /// The checked answer.
    pub(super) fn answer<T, E: Display>(
        &self,
        person: &mut dyn Ask,
        check: impl Fn(&str) -> std::result::Result<T, E>,
    ) -> Result<T> {
        let invalid = |answer: &str, reason: E| {
            Error::usage(format!("invalid value {answer:?} for {}", self.option)).because(reason)
        };
        if let Some(given) = self.given {
            return check(given).map_err(|reason| invalid(given, reason));
        }
        loop {
            let answer = person.ask(self.text, self.default)?;
            match check(&answer) {
                Ok(value) => return Ok(value),
                Err(reason) if person.is_person() => eprintln!("  {reason}"),
                Err(reason) => return Err(invalid(&answer, reason)),
            }
        }
    }
}
