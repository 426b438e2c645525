//! The `bluegreen` command.

fn main() -> std::process::ExitCode {
    infra::cli::main()
}
