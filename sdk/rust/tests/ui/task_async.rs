#[engine::task]
async fn fetch(path: String) -> String {
    path
}

fn main() {}
