#[engine::task]
fn total(values: impl Iterator<Item = u64>) -> u64 {
    values.sum()
}

#[engine::task]
fn shown(value: u64) -> impl std::fmt::Display {
    value
}

fn main() {}
