//! A component with an interface of its own, and without the engine's SDK: `wit/plain.wit` says what
//! it offers, and `engine submit plain_component.wasm --invoke 'add(1, 2)'` calls it.

wit_bindgen::generate!({ path: "wit", world: "plain" });

struct Plain;

impl Guest for Plain {
    fn add(a: i32, b: i32) -> i32 {
        a.wrapping_add(b)
    }

    fn greet(name: String) -> String {
        format!("Hello, {name}!")
    }

    fn centroid(points: Vec<Point>) -> Option<Point> {
        let count = points.len() as f64;
        let sum = points.into_iter().reduce(|a, b| Point { x: a.x + b.x, y: a.y + b.y })?;
        Some(Point { x: sum.x / count, y: sum.y / count })
    }

    fn calculate(operation: Operation, a: i64, b: i64) -> Result<i64, String> {
        let result = match operation {
            Operation::Add => a.checked_add(b),
            Operation::Subtract => a.checked_sub(b),
            Operation::Multiply => a.checked_mul(b),
            Operation::Divide if b == 0 => return Err(format!("{a} cannot be divided by 0")),
            Operation::Divide => a.checked_div(b),
        };
        result.ok_or_else(|| "the result does not fit into 64 bits".to_owned())
    }
}

export!(Plain);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_functions_do_what_the_interface_says() {
        assert_eq!(Plain::add(i32::MAX, 1), i32::MIN);
        assert_eq!(Plain::greet("Ada".into()), "Hello, Ada!");
        let middle = Plain::centroid(vec![Point { x: 0.0, y: 1.0 }, Point { x: 4.0, y: 3.0 }]);
        assert!(middle.is_some_and(|point| point.x == 2.0 && point.y == 2.0));
        assert!(Plain::centroid(Vec::new()).is_none());
        assert_eq!(Plain::calculate(Operation::Divide, 7, 2), Ok(3));
        assert!(Plain::calculate(Operation::Divide, 7, 0).is_err());
        assert!(Plain::calculate(Operation::Multiply, i64::MAX, 2).is_err());
    }
}
