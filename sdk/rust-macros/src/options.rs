//! The options in an attribute: `cpus = 2, retry_on("Flaky"), env(KEY = "value")`.
use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Expr, Ident, LitStr, Token, parenthesized};

/// The options of one attribute.
#[derive(Default)]
pub(crate) struct Options {
    /// The calls of setters, such as `.cpus(2)`.
    pub(crate) setters: TokenStream,
    /// `num_returns`, when it is given.
    pub(crate) num_returns: Option<Expr>,
    /// `unread_objects_max`, when it is given.
    pub(crate) unread_objects_max: Option<Expr>,
}

/// Whose options they are, and which there are.
pub(crate) struct Known {
    pub(crate) noun: &'static str,
    names: &'static [&'static str],
}

const PLACEMENT: [&str; 7] = ["cpus", "gpus", "memory", "resources", "strategy", "labels", "priority"];

pub(crate) const TASK: Known = Known {
    noun: "a task",
    names: &{
        const OWN: [&str; 10] = [
            "max_retries",
            "retry_on",
            "num_returns",
            "unread_objects_max",
            "deadline",
            "cpu_time",
            "reuse",
            "cache",
            "name",
            "env",
        ];
        joined::<17>(&PLACEMENT, &OWN)
    },
};

pub(crate) const ACTOR: Known = Known {
    noun: "an actor",
    names: &{
        const OWN: [&str; 10] = [
            "name",
            "namespace",
            "get_if_exists",
            "lifetime",
            "max_restarts",
            "max_task_retries",
            "max_concurrency",
            "concurrency_groups",
            "max_pending_calls",
            "env",
        ];
        joined::<17>(&PLACEMENT, &OWN)
    },
};

pub(crate) const METHOD: Known = Known {
    noun: "a method",
    names: &[
        "num_returns",
        "unread_objects_max",
        "max_task_retries",
        "retry_on",
        "deadline",
        "concurrency_group",
        "name",
    ],
};

const fn joined<const N: usize>(one: &[&'static str], other: &[&'static str]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut at = 0;
    while at < N {
        names[at] = if at < one.len() { one[at] } else { other[at - one.len()] };
        at += 1;
    }
    names
}

impl Options {
    pub(crate) fn parse(tokens: TokenStream, known: &Known) -> syn::Result<Self> {
        let given: Punctuated<Given, Token![,]> =
            syn::parse::Parser::parse2(Punctuated::parse_terminated, tokens)?;
        let mut options = Options::default();
        let mut seen: Vec<String> = Vec::new();
        for Given { name, value } in given {
            let text = name.to_string();
            if !known.names.contains(&text.as_str()) {
                return Err(syn::Error::new(name.span(), unknown(&text, known)));
            }
            if seen.contains(&text) {
                return Err(syn::Error::new(name.span(), format!("`{text}` is given twice")));
            }
            options.take(&name, &text, value)?;
            seen.push(text);
        }
        Ok(options)
    }

    fn take(&mut self, name: &Ident, text: &str, value: Setting) -> syn::Result<()> {
        let setter = match (text, value) {
            ("num_returns", Setting::Is(expr)) => {
                self.num_returns = Some(expr);
                return Ok(());
            }
            ("unread_objects_max", Setting::Is(expr)) => {
                self.unread_objects_max = Some(expr);
                return Ok(());
            }
            ("resources", Setting::List(list)) => {
                pairs(&list, name, |key, value| quote!(.resource(#key, #value)))?
            }
            ("env", Setting::List(list)) => pairs(&list, name, |key, value| quote!(.env(#key, #value)))?,
            ("concurrency_groups", Setting::List(list)) => {
                pairs(&list, name, |key, value| quote!(.concurrency_group(#key, #value)))?
            }
            ("labels", Setting::List(list)) => quote!(#(.label(#list))*),
            ("retry_on", Setting::List(list)) => match &list[..] {
                [Expr::Path(path)] if path.path.is_ident("any") => quote!(.retry_on_any()),
                kinds => quote!(.retry_on([#(#kinds),*])),
            },
            ("resources" | "env" | "concurrency_groups" | "labels" | "retry_on", Setting::Is(value)) => {
                let message = format!("write `{text}({})`", example(text));
                return Err(syn::Error::new_spanned(value, message));
            }
            ("reuse", Setting::Is(value)) => {
                let value = choice(value, &[("never", quote!(Reuse::Never)), ("job", quote!(Reuse::Job))]);
                quote!(.reuse(#value))
            }
            ("lifetime", Setting::Is(value)) => {
                let choices = [("job", quote!(Lifetime::Job)), ("detached", quote!(Lifetime::Detached))];
                let value = choice(value, &choices);
                quote!(.lifetime(#value))
            }
            ("cache" | "get_if_exists", Setting::Flag) => quote!(.#name(true)),
            (_, Setting::Is(value)) => quote!(.#name(#value)),
            (_, Setting::Flag | Setting::List(_)) => {
                let message = format!("write `{text} = {}`", example(text));
                return Err(syn::Error::new(name.span(), message));
            }
        };
        self.setters.extend(setter);
        Ok(())
    }
}

fn unknown(name: &str, known: &Known) -> String {
    let advice = match name {
        "num_cpus" => "; CPUs are `cpus`".to_owned(),
        "num_gpus" => "; GPUs are `gpus`".to_owned(),
        "retries" => "; write `max_retries` (of tasks) or `max_task_retries` (of actors)".to_owned(),
        "streaming" => {
            "; a function that returns `impl Iterator<Item = T>` is a stream without being told".to_owned()
        }
        _ => String::new(),
    };
    format!("{} has no option `{name}`{advice}; there are {}", known.noun, known.names.join(", "))
}

fn example(name: &str) -> &'static str {
    match name {
        "retry_on" => "\"Flaky\"",
        "env" => "KEY = \"value\"",
        "resources" => "disk = 2",
        "concurrency_groups" => "io = 4",
        "labels" => "Label::exists(\"ssd\")",
        "deadline" | "cpu_time" => "Duration::from_secs(5)",
        "memory" => "64 << 20",
        "name" | "namespace" | "concurrency_group" => "\"…\"",
        "strategy" => "Strategy::Spread",
        "reuse" | "lifetime" => "job",
        _ => "1",
    }
}

/// A word among the choices, else the expression itself.
fn choice(value: Expr, choices: &[(&str, TokenStream)]) -> TokenStream {
    if let Expr::Path(path) = &value {
        for (word, path_of_choice) in choices {
            if path.path.is_ident(word) {
                return quote!(::engine::#path_of_choice);
            }
        }
    }
    quote!(#value)
}

fn pairs(
    list: &[Expr],
    name: &Ident,
    setter: impl Fn(LitStr, &Expr) -> TokenStream,
) -> syn::Result<TokenStream> {
    let mut setters = TokenStream::new();
    for item in list {
        let pair = match item {
            Expr::Assign(assign) => key(&assign.left).map(|key| (key, &*assign.right)),
            _ => None,
        };
        let Some((key, value)) = pair else {
            let message = format!("write `{name}({})`", example(&name.to_string()));
            return Err(syn::Error::new_spanned(item, message));
        };
        setters.extend(setter(key, value));
    }
    Ok(setters)
}

/// The text of a key, which is a word or a string.
fn key(expr: &Expr) -> Option<LitStr> {
    match expr {
        Expr::Path(path) => path.path.get_ident().map(|word| LitStr::new(&word.to_string(), word.span())),
        Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.clone()),
        _ => None,
    }
}

struct Given {
    name: Ident,
    value: Setting,
}

enum Setting {
    Flag,
    Is(Expr),
    List(Vec<Expr>),
}

impl Parse for Given {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name: Ident = input.parse().map_err(|error| {
            syn::Error::new(error.span(), "expected an option, such as `max_retries = 5`")
        })?;
        let value = if input.peek(Token![=]) {
            input.parse::<Token![=]>()?;
            Setting::Is(input.parse()?)
        } else if input.peek(syn::token::Paren) {
            let inside;
            parenthesized!(inside in input);
            let list: Punctuated<Expr, Token![,]> = Punctuated::parse_terminated(&inside)?;
            Setting::List(list.into_iter().collect())
        } else {
            Setting::Flag
        };
        Ok(Given { name, value })
    }
}
