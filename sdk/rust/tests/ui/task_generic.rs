#[engine::task]
fn largest<T: Ord>(values: Vec<T>) -> Option<T> {
    values.into_iter().max()
}

#[engine::task]
fn borrowed<'a>(text: std::borrow::Cow<'a, str>) -> u64 {
    text.len() as u64
}

fn main() {}
