//! What the macros read from a function's signature: parameters that can travel, and what comes back.
use crate::expand::Mistakes;
use crate::options::Options;
use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    FnArg, GenericArgument, Ident, Pat, PathArguments, ReturnType, Signature, Type, TypeImplTrait,
    TypeParamBound,
};

/// One parameter, by its name and type.
pub(crate) struct Parameter {
    pub(crate) name: Ident,
    pub(crate) kind: Type,
}

/// The parameters of a task, a constructor or a method, without `self`.
pub(crate) struct Parameters {
    fixed: Vec<Parameter>,
    /// The last one, when it takes all arguments that are left: its name, its type, and theirs.
    varargs: Option<(Parameter, Type)>,
}

/// What comes back.
pub(crate) struct Output {
    shape: Shape,
    /// Whether it comes in a `Result`.
    is_fallible: bool,
    /// The return type, `()` when none is written.
    kind: Type,
}

enum Shape {
    /// One object; several when `num_returns` is given.
    Value,
    /// A stream of items, each perhaps in a `Result`.
    Stream { item: Box<Type>, is_item_fallible: bool },
}

/// Refuses an `async fn` where there is nothing that could go on meanwhile.
pub(crate) fn check_not_async(signature: &Signature, noun: &str, mistakes: &mut Mistakes) {
    if let Some(word) = &signature.asyncness {
        mistakes.at(
            word,
            format!(
                "{noun} cannot be an `async fn`; make it a plain `fn` and run the async code in it with \
                 `engine::block_on(async {{ … }})`"
            ),
        );
    }
}

/// Refuses what neither tasks nor methods can be.
pub(crate) fn check(signature: &Signature, noun: &str, mistakes: &mut Mistakes) {
    if let Some(word) = &signature.unsafety {
        mistakes.at(word, format!("{noun} cannot be `unsafe`: its caller is in another sandbox"));
    }
    if let Some(abi) = &signature.abi {
        mistakes.at(abi, format!("{noun} cannot be `extern`: the engine calls it by its name"));
    }
    if let Some(dots) = &signature.variadic {
        mistakes.at(
            dots,
            format!("{noun} takes several arguments of one type as its last, `engine::Varargs<T>`"),
        );
    }
    let generics = &signature.generics;
    if !generics.params.is_empty() {
        mistakes.at(
            generics,
            format!(
                "{noun} cannot be generic: caller and callee run in different sandboxes and must agree on one \
                 type; write concrete types, and call a generic function from inside"
            ),
        );
    }
}

impl Parameters {
    pub(crate) fn read(signature: &Signature, noun: &str, mistakes: &mut Mistakes) -> Self {
        let mut parameters = Vec::new();
        for (index, input) in signature.inputs.iter().enumerate() {
            let FnArg::Typed(typed) = input else { continue };
            check_parameter(&typed.ty, noun, mistakes);
            let name = match &*typed.pat {
                Pat::Ident(pattern) if pattern.by_ref.is_none() && pattern.subpat.is_none() => {
                    pattern.ident.clone()
                }
                Pat::Wild(_) => format_ident!("argument{index}", span = typed.pat.span()),
                pattern => {
                    let message = format!(
                        "an argument of {noun} needs a name; write `name: Type`, and take it apart inside"
                    );
                    mistakes.at(pattern, message);
                    continue;
                }
            };
            parameters.push(Parameter { name, kind: (*typed.ty).clone() });
        }
        let last = parameters.last().and_then(|parameter| varargs_item(&parameter.kind).cloned());
        let varargs = last.and_then(|item| Some((parameters.pop()?, item)));
        for early in parameters.iter().filter(|parameter| varargs_item(&parameter.kind).is_some()) {
            mistakes
                .at(&early.kind, "`Varargs` takes all arguments that are left: make it the last parameter");
        }
        Parameters { fixed: parameters, varargs }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.fixed.is_empty() && self.varargs.is_none()
    }

    /// `x: impl IntoArgument<u64>, …`
    pub(crate) fn declared(&self) -> TokenStream {
        let fixed = self.fixed.iter().map(|Parameter { name, kind }| {
            quote_spanned!(kind.span()=> #name: impl ::engine::IntoArgument<#kind>)
        });
        let varargs = self.varargs.iter().map(|(Parameter { name, kind }, item)| {
            quote_spanned! {kind.span()=>
                #name: impl ::core::iter::IntoIterator<Item = impl ::engine::IntoArgument<#item>>
            }
        });
        let declared = fixed.chain(varargs);
        quote!(#(#declared),*)
    }

    pub(crate) fn names(&self) -> TokenStream {
        let varargs = self.varargs.iter().map(|(parameter, _)| parameter);
        let names = self.fixed.iter().chain(varargs).map(|parameter| &parameter.name);
        quote!(#(#names),*)
    }

    /// A `Vec` of the encoded arguments; leaves with `?` when one does not encode.
    pub(crate) fn encoded(&self) -> TokenStream {
        let fixed = self
            .fixed
            .iter()
            .map(|Parameter { name, kind }| quote!(::engine::IntoArgument::<#kind>::into_argument(#name)?));
        let Some((Parameter { name, .. }, item)) = &self.varargs else {
            return quote!(::std::vec![#(#fixed),*]);
        };
        quote! {{
            let mut arguments = ::std::vec![#(#fixed),*];
            for argument in #name {
                arguments.push(::engine::IntoArgument::<#item>::into_argument(argument)?);
            }
            arguments
        }}
    }

    /// Statements that decode `__incoming` into variables of the parameters' names.
    pub(crate) fn decoded(&self) -> TokenStream {
        let shown = |Parameter { name, kind }: &Parameter| format!("{name}: {}", written(kind));
        let all: Vec<String> = self.fixed.iter().map(shown).collect();
        let decoded = self.fixed.iter().zip(&all).map(|(Parameter { name, kind }, shown)| {
            // A type that cannot travel is complained about where it is written.
            quote_spanned!(kind.span()=> let #name: #kind = __incoming.next(#shown)?;)
        });
        let Some((parameter @ Parameter { name, kind }, _)) = &self.varargs else {
            return quote! {
                __incoming.expect(&[#(#all),*])?;
                #(#decoded)*
            };
        };
        let shown = shown(parameter);
        let rest = quote_spanned!(kind.span()=> let #name: #kind = __incoming.rest(#shown)?;);
        quote! {
            __incoming.expect_at_least(&[#(#all),*], #shown)?;
            #(#decoded)*
            #rest
        }
    }
}

/// What a parameter takes any number of.
fn varargs_item(kind: &Type) -> Option<&Type> {
    let Type::Path(path) = kind else { return None };
    let is_varargs = path.path.segments.last().is_some_and(|last| last.ident == "Varargs");
    if is_varargs { first_argument(kind) } else { None }
}

fn check_parameter(kind: &Type, noun: &str, mistakes: &mut Mistakes) {
    match kind {
        Type::Reference(reference) => {
            let owned = match &*reference.elem {
                Type::Path(path) if path.path.is_ident("str") => "String".to_owned(),
                Type::Slice(slice) => format!("Vec<{}>", written(&slice.elem)),
                other => written(other),
            };
            let message = format!(
                "{noun} cannot take a reference: its arguments travel to another sandbox; take `{owned}`, or \
                 `ObjectRef<{owned}>` inside another value to read it only when needed"
            );
            mistakes.at(kind, message);
        }
        Type::ImplTrait(_) => {
            let message = format!(
                "{noun} cannot take `impl Trait`: what arrives must be one type; write it out, such as `u64`, \
                 `String` or `Vec<f64>`"
            );
            mistakes.at(kind, message);
        }
        Type::Ptr(_) | Type::BareFn(_) => {
            let message = format!("{noun} cannot take a pointer: it means nothing in another sandbox");
            mistakes.at(kind, message);
        }
        Type::Path(path) if path.path.is_ident("Self") => {
            let message = format!("{noun} cannot take `Self`: write the type's name");
            mistakes.at(kind, message);
        }
        _ => {}
    }
}

impl Output {
    pub(crate) fn read(signature: &Signature, noun: &str, mistakes: &mut Mistakes) -> Self {
        let kind = match &signature.output {
            ReturnType::Default => syn::parse_quote!(()),
            ReturnType::Type(_, kind) => (**kind).clone(),
        };
        let is_fallible = is_result(&kind);
        // Only inside a `Result` that is written out can an `impl Iterator` stand.
        let inner = if is_fallible { first_argument(&kind) } else { Some(&kind) };
        let shape = match inner {
            Some(Type::ImplTrait(inner)) => match iterator_item(inner) {
                Some(item) => {
                    Shape::Stream { item: Box::new(item.clone()), is_item_fallible: is_result(item) }
                }
                None => {
                    let message = format!(
                        "{noun} can return `impl Iterator<Item = T>`, which makes it a stream, and no other \
                         `impl Trait`: the caller must know the type"
                    );
                    mistakes.at(inner, message);
                    Shape::Value
                }
            },
            Some(reference @ Type::Reference(_)) => {
                let message = format!(
                    "{noun} cannot return a reference: the result leaves the sandbox; return an owned value"
                );
                mistakes.at(reference, message);
                Shape::Value
            }
            _ => Shape::Value,
        };
        Output { shape, is_fallible, kind }
    }

    pub(crate) fn is_stream(&self) -> bool {
        matches!(self.shape, Shape::Stream { .. })
    }

    /// Refuses options that do not go with what comes back.
    pub(crate) fn check_options(&self, options: &Options, mistakes: &mut Mistakes) {
        if let (Some(expr), true) = (&options.num_returns, self.is_stream()) {
            mistakes.at(expr, "a stream has no `num_returns`: it makes as many objects as it yields");
        }
        if let (Some(expr), false) = (&options.unread_objects_max, self.is_stream()) {
            mistakes.at(
                expr,
                "`unread_objects_max` is for streams; return `impl Iterator<Item = T>` to make it one",
            );
        }
    }

    /// The type of the value, out of its `Result`.
    fn value(&self) -> TokenStream {
        let kind = &self.kind;
        match &self.shape {
            Shape::Stream { item, is_item_fallible: true } => {
                quote_spanned!(item.span()=> <#item as ::engine::__private::Fallible>::Ok)
            }
            Shape::Stream { item, .. } => quote!(#item),
            Shape::Value if self.is_fallible => {
                quote_spanned!(kind.span()=> <#kind as ::engine::__private::Fallible>::Ok)
            }
            Shape::Value => quote!(#kind),
        }
    }

    /// The type of what the caller gets: references, or a stream.
    pub(crate) fn refs(&self, options: &Options) -> TokenStream {
        let value = self.value();
        match (&self.shape, &options.num_returns) {
            (Shape::Stream { .. }, _) => quote!(::engine::Stream<#value>),
            (Shape::Value, None) => quote!(::engine::ObjectRef<#value>),
            (Shape::Value, Some(_)) => quote!(<#value as ::engine::Returns>::Refs),
        }
    }

    /// The setter of what the host must know of it: `.num_returns(2)`, `.streaming(None)`.
    pub(crate) fn setter(&self, options: &Options) -> TokenStream {
        match (&self.shape, &options.num_returns, &options.unread_objects_max) {
            (Shape::Stream { .. }, _, Some(bound)) => {
                quote!(.streaming(::core::option::Option::Some(#bound)))
            }
            (Shape::Stream { .. }, _, None) => quote!(.streaming(::core::option::Option::None)),
            (Shape::Value, Some(count), _) => quote!(.num_returns(#count)),
            (Shape::Value, None, _) => TokenStream::new(),
        }
    }

    /// An expression of type `Outcome` that makes the call and encodes what comes back.
    pub(crate) fn outcome(&self, call: &TokenStream, options: &Options) -> TokenStream {
        let value = self.value();
        let call = if self.is_fallible { unwrapped(call) } else { quote!(#call) };
        match &self.shape {
            Shape::Value if options.num_returns.is_some() => {
                let many = quote_spanned!(self.place()=> ::engine::__private::many::<#value>);
                quote!(#many(#call))
            }
            Shape::Value => {
                let one = quote_spanned!(self.place()=> ::engine::__private::one::<#value>);
                quote!(#one(#call))
            }
            Shape::Stream { is_item_fallible, .. } => {
                let item = if *is_item_fallible { unwrapped(&quote!(item)) } else { quote!(item) };
                let emit = quote_spanned!(self.place()=> ::engine::__private::emit::<#value>);
                quote! {{
                    for item in #call {
                        #emit(#item)?;
                    }
                    ::core::result::Result::Ok(::std::vec::Vec::new())
                }}
            }
        }
    }

    /// Where a complaint about the type of the value belongs.
    fn place(&self) -> proc_macro2::Span {
        match &self.shape {
            Shape::Stream { item, .. } => item.span(),
            Shape::Value if self.is_fallible => first_argument(&self.kind).unwrap_or(&self.kind).span(),
            Shape::Value => self.kind.span(),
        }
    }
}

/// The value of a `Result`, or out with the failure.
pub(crate) fn unwrapped(result: &TokenStream) -> TokenStream {
    quote! {
        match #result {
            ::core::result::Result::Ok(value) => value,
            ::core::result::Result::Err(error) => {
                #[allow(unused_imports)]
                use ::engine::__private::{OfDisplay as _, OfEngine as _, OfKind as _, OfStandard as _};
                let returned = ::engine::__private::Returned::new(error);
                return ::core::result::Result::Err((&&&&returned).failure());
            }
        }
    }
}

/// Whether the type is written as a `Result`, by whatever path.
pub(crate) fn is_result(kind: &Type) -> bool {
    match kind {
        Type::Path(path) => path.path.segments.last().is_some_and(|last| last.ident == "Result"),
        _ => false,
    }
}

fn first_argument(kind: &Type) -> Option<&Type> {
    let Type::Path(path) = kind else { return None };
    let PathArguments::AngleBracketed(arguments) = &path.path.segments.last()?.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(kind) => Some(kind),
        _ => None,
    })
}

fn iterator_item(kind: &TypeImplTrait) -> Option<&Type> {
    kind.bounds.iter().find_map(|bound| {
        let TypeParamBound::Trait(bound) = bound else { return None };
        let last = bound.path.segments.last()?;
        let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
        if !last.ident.to_string().ends_with("Iterator") {
            return None;
        }
        arguments.args.iter().find_map(|argument| match argument {
            GenericArgument::AssocType(item) if item.ident == "Item" => Some(&item.ty),
            _ => None,
        })
    })
}

/// The type as its author wrote it, more or less.
pub(crate) fn written(kind: &Type) -> String {
    let text = quote!(#kind).to_string();
    text.replace(" :: ", "::").replace(" < ", "<").replace("< ", "<").replace(" >", ">").replace(" ,", ",")
}
