//! `bluegreen completions` and `bluegreen man`: the command line's own definition, for shells, for man, and as Markdown.
//! Needs no cloud. Must not know a verb by name.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, CommandFactory as _};

use crate::cli::Cli;
use crate::error::{Doing, Error, Result};
use crate::session::print_text;

/// The arguments of `completions`.
#[derive(Clone, Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell.
    shell: clap_complete::Shell,
}

impl CompletionsArgs {
    /// Prints the completions.
    pub fn run(&self) -> Result<()> {
        print_text(&completions(&mut Cli::command(), self.shell)?)
    }
}

/// The arguments of `man`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// A folder for one page a verb, such as ~/.local/share/man/man1; standard output gets the first page otherwise.
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// The whole command line as one Markdown page instead.
    #[arg(long, conflicts_with = "out")]
    pub markdown: bool,
}

impl Args {
    /// Prints the manual, or writes it.
    pub fn run(&self) -> Result<()> {
        man(Cli::command(), self)?.map_or(Ok(()), |text| print_text(&text))
    }
}

/// The completions for a shell.
fn completions(command: &mut Command, shell: clap_complete::Shell) -> Result<String> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, command, name, &mut script);
    text(script)
}

/// The manual; returns its text where it goes to standard output.
fn man(command: Command, arguments: &Args) -> Result<Option<String>> {
    if arguments.markdown {
        return Ok(Some(markdown(command)));
    }
    let Some(folder) = &arguments.out else { return page(command).map(Some) };
    std::fs::create_dir_all(folder).doing(|| format!("make {}", folder.display()))?;
    let command = command.disable_help_subcommand(true);
    clap_mangen::generate_to(command, folder).doing(|| format!("write the manual to {}", folder.display()))?;
    Ok(None)
}

fn page(command: Command) -> Result<String> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page).doing(|| "write a page of the manual".to_owned())?;
    text(page)
}

fn text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| Error::failed("what was made is not text").because(error))
}

/// The verbs that people are told of.
fn verbs(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help")
}

/// Writing to a `String` cannot fail, so what `write!` returns is dropped.
fn markdown(command: Command) -> String {
    let mut command = command;
    command.build();
    let mut text =
        "# Command line\n\nMade from the definition of the command line by `bluegreen man --markdown`.\n".to_owned();
    let about = command.get_long_about().or(command.get_about());
    let _ = write!(text, "\n{}\n", about.map_or_else(String::new, ToString::to_string));
    let _ = write!(text, "\nFor every verb:\n\n{}", table(command.get_arguments()));
    for verb in verbs(&command) {
        let about = verb.get_long_about().or(verb.get_about());
        let about = about.map_or_else(String::new, ToString::to_string);
        let _ = write!(text, "\n## bluegreen {}\n\n{about}\n", verb.get_name());
        let own: Vec<&Arg> = verb.get_arguments().filter(|argument| !argument.is_global_set()).collect();
        let rows = table(own.into_iter());
        if !rows.is_empty() {
            let _ = write!(text, "\n{rows}");
        }
    }
    text
}

fn table<'a>(arguments: impl Iterator<Item = &'a Arg>) -> String {
    let rows: Vec<String> = arguments.filter(|argument| !is_usual(argument)).map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("| argument | default | meaning |\n|---|---|---|\n{}", rows.concat())
}

/// Whether every command has it, and everybody knows it.
fn is_usual(argument: &Arg) -> bool {
    argument.is_hide_set()
        || matches!(argument.get_action(), ArgAction::Help | ArgAction::HelpLong | ArgAction::Version)
}

fn row(argument: &Arg) -> String {
    let value = argument.get_value_names().map(|names| format!("<{}>", names.join("> <")));
    let takes = argument.get_action().takes_values();
    let name = match (argument.get_long(), value) {
        (Some(long), Some(value)) if takes => format!("--{long} {value}"),
        (Some(long), _) => format!("--{long}"),
        (None, Some(value)) => value,
        (None, None) => format!("<{}>", argument.get_id()),
    };
    let defaults = argument.get_default_values().iter().map(|value| value.to_string_lossy());
    let default = if takes { defaults.collect::<Vec<_>>().join(", ") } else { String::new() };
    let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
    let help = argument.get_long_help().or(argument.get_help());
    let mut help = help.map_or_else(String::new, |help| help.to_string().replace('\n', " ").replace('|', "\\|"));
    let choices: Vec<String> = if takes {
        argument.get_possible_values().iter().map(|it| format!("`{}`", it.get_name())).collect()
    } else {
        Vec::new()
    };
    if !choices.is_empty() {
        let _ = write!(help, " ({})", choices.join(", "));
    }
    if let Some(variable) = argument.get_env() {
        let _ = write!(help, " Also the variable `{}`.", variable.to_string_lossy());
    }
    format!("| `{name}` | {default} | {help} |\n")
}
