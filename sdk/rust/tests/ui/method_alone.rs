#[engine::method(num_returns = 2)]
fn both() -> (u8, u8) {
    (1, 2)
}

fn main() {}
