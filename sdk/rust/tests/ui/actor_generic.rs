struct Holder<T>(T);

#[engine::actor]
impl<T> Holder<T> {
    pub fn new(value: T) -> Self {
        Holder(value)
    }
}

fn main() {}
