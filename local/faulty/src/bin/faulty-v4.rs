//! Version 4 of the faulty service: works at first and answers 503 once it has users.

fn main() -> std::process::ExitCode {
    faulty::serve("4", faulty::Fault::FailsUnderUse)
}
