#[engine::task]
fn count(text: &str, numbers: &[u64], map: &std::collections::BTreeMap<String, u64>) -> u64 {
    text.len() as u64 + numbers.len() as u64 + map.len() as u64
}

fn main() {}
