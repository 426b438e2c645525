//! Version 1 of the faulty service: works.

fn main() -> std::process::ExitCode {
    faulty::serve("1", faulty::Fault::None)
}
