//! The `bluegreen` command.
fn main() {
    print!("{}", infra::stack::synthesize(&infra::stack::Settings::default()).unwrap().to_pretty_json().unwrap());
}
