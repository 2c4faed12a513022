#[engine::main]
fn job(count: u64) {
    let _ = count;
}

fn main() {}
