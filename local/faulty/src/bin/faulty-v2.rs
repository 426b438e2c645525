//! Version 2 of the faulty service: ends at once with exit code 3.

fn main() -> std::process::ExitCode {
    faulty::serve("2", faulty::Fault::ExitAtStart)
}
