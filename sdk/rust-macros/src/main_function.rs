//! `#[engine::main]`.
use crate::expand::Mistakes;
use crate::options::Options;
use crate::signature::{self, Output};
use proc_macro2::TokenStream;
use quote::quote;
use syn::{FnArg, Ident, ItemFn};

const NOUN: &str = "the main function";

pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let function: ItemFn = syn::parse2(item)
        .map_err(|error| syn::Error::new(error.span(), "`#[engine::main]` goes on a function"))?;
    let is_concurrent = is_concurrent(attribute)?;
    let mut mistakes = Mistakes::default();
    let signature = &function.sig;
    signature::check_not_async(signature, NOUN, &mut mistakes);
    signature::check(signature, NOUN, &mut mistakes);
    let output = Output::read(signature, NOUN, &mut mistakes);
    if output.is_stream() {
        mistakes.at(&signature.output, "the main function returns the job's result, not a stream");
    }
    let takes_arguments = match signature.inputs.iter().collect::<Vec<_>>()[..] {
        [] => false,
        [FnArg::Typed(arguments)] if signature::written(&arguments.ty).ends_with("Vec<String>") => true,
        _ => {
            mistakes.at(
                &signature.inputs,
                "the main function takes nothing, or `args: Vec<String>`, the arguments of the command line",
            );
            false
        }
    };
    mistakes.finish()?;
    let name = &signature.ident;
    let call = if takes_arguments { quote!(#name(arguments)) } else { quote!(#name()) };
    let options = Options::default();
    let outcome = output.outcome(&call, &options);
    let world = is_concurrent.then(|| quote!(concurrent));
    Ok(quote! {
        #function

        const _: () = {
            #[allow(clippy::unit_arg, unused_variables)]
            fn run(arguments: ::std::vec::Vec<::std::string::String>) -> ::engine::__private::Outcome {
                #outcome
            }

            ::engine::__private::inventory::submit!(::engine::__private::MainEntry { run });
        };

        ::engine::library!(#world);
    })
}

/// Whether the attribute says `concurrent`; it can say nothing else.
fn is_concurrent(attribute: TokenStream) -> syn::Result<bool> {
    if attribute.is_empty() {
        return Ok(false);
    }
    let message = "`#[engine::main]` takes no options but `concurrent`, which makes the component one of the \
                   concurrent world";
    match syn::parse2::<Ident>(attribute.clone()) {
        Ok(word) if word == "concurrent" => Ok(true),
        _ => Err(syn::Error::new_spanned(attribute, message)),
    }
}
