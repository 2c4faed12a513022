#[engine::task(num_returns = 2)]
fn both() -> u64 {
    1
}

fn main() {}
