//! Version 3 of the faulty service: never becomes healthy.

fn main() -> std::process::ExitCode {
    faulty::serve("3", faulty::Fault::NeverHealthy)
}
