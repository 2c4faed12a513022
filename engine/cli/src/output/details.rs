//! One thing in full, as people read it: the JSON without its punctuation and its empty fields.

use serde_json::Value;

use crate::output::terminal;

/// `key: value` lines, aligned, nested ones indented.
pub(crate) fn render(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value, 0);
    text
}

fn write(text: &mut String, value: &Value, indent: usize) {
    let Value::Object(fields) = value else {
        text.push_str(&format!("{:indent$}{}\n", "", scalar(value)));
        return;
    };
    let shown: Vec<_> = fields.iter().filter(|(_, value)| !is_empty(value)).collect();
    let width = shown.iter().map(|(key, _)| key.len() + 1).max().unwrap_or(0);
    for (key, value) in shown {
        let key = format!("{}:", terminal::line(&key.replace('_', " ")));
        match value {
            Value::Object(_) => {
                text.push_str(&format!("{:indent$}{key}\n", ""));
                write(text, value, indent + 2);
            }
            Value::Array(items) => {
                text.push_str(&format!("{:indent$}{key}\n", ""));
                for item in items {
                    let from = text.len();
                    write(text, item, indent + 4);
                    // The first line of an item carries its dash.
                    let dash = from + indent + 2;
                    if text.is_char_boundary(dash) && text[dash..].starts_with(' ') {
                        text.replace_range(dash..=dash, "-");
                    }
                }
            }
            Value::String(lines) if lines.contains('\n') => {
                text.push_str(&format!("{:indent$}{key}\n", ""));
                for line in lines.lines() {
                    text.push_str(&format!("{:indent$}  {line}\n", ""));
                }
            }
            _ => text.push_str(&format!("{:indent$}{key:<width$} {}\n", "", scalar(value))),
        }
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn empty_fields_are_left_out_and_nested_ones_indented() {
        let value = json!({
            "task_id": "task-1",
            "name": "",
            "node": null,
            "resources": { "cpus": 1.5, "custom": {} },
            "attempts": [{ "number": 0, "cause": { "code": "TRAPPED" } }, { "number": 1 }],
            "backtrace": "0: f\n1: g",
        });
        let expected = "\
task id:   task-1
resources:
  cpus: 1.5
attempts:
  - number: 0
    cause:
      code: TRAPPED
  - number: 1
backtrace:
  0: f
  1: g
";
        assert_eq!(render(&value), expected);
    }
}
