//! `#[engine::task]`.
use crate::expand::Mistakes;
use crate::options::{self, Options};
use crate::signature::{self, Output, Parameters};
use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{FnArg, ItemFn};

const NOUN: &str = "a task";

pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let function: ItemFn = syn::parse2(item).map_err(|error| {
        syn::Error::new(error.span(), "`#[engine::task]` goes on a function; for a type with methods use `#[engine::actor]` on its `impl`")
    })?;
    let mut mistakes = Mistakes::default();
    let options = Options::parse(attribute, &options::TASK)?;
    let signature = &function.sig;
    if let Some(FnArg::Receiver(receiver)) = signature.receiver().map(|_| &signature.inputs[0]) {
        mistakes.at(
            receiver,
            "a task has no `self`; make it a free function, or the whole `impl` an actor with `#[engine::actor]`",
        );
    }
    signature::check_not_async(signature, NOUN, &mut mistakes);
    signature::check(signature, NOUN, &mut mistakes);
    let parameters = Parameters::read(signature, NOUN, &mut mistakes);
    let output = Output::read(signature, NOUN, &mut mistakes);
    output.check_options(&options, &mut mistakes);
    mistakes.finish()?;
    Ok(generate(&function, &options, &parameters, &output))
}

fn generate(function: &ItemFn, options: &Options, parameters: &Parameters, output: &Output) -> TokenStream {
    let name = &function.sig.ident;
    let text = name.to_string();
    let (visibility, builder) = (&function.vis, format_ident!("__{name}_options"));
    let documents = function.attrs.iter().filter(|attribute| attribute.path().is_ident("doc"));
    let gates: Vec<_> = function.attrs.iter().filter(|attribute| attribute.path().is_ident("cfg")).collect();

    let (declared, names, encoded) = (parameters.declared(), parameters.names(), parameters.encoded());
    let refs = output.refs(options);
    let (setters, shape) = (&options.setters, output.setter(options));
    let path = quote! {{
        const NAME: &str =
            ::engine::__private::name_of(::core::concat!(::core::module_path!(), "::", #text));
        NAME
    }};
    let submitting = if output.is_stream() {
        quote! {
            /// Spawns the task with these options; what it yields is read from the stream.
            pub fn spawn(self, #declared) -> ::engine::Result<#refs> {
                ::engine::__private::submit_streaming(#path, #encoded, &self.options)
            }
        }
    } else {
        quote! {
            /// Spawns the task with these options.
            pub fn spawn(self, #declared) -> ::engine::Result<#refs> {
                self.submit(#names).map(::engine::Task::into_outputs)
            }

            /// Spawns the task with these options, and gives it.
            pub fn submit(self, #declared) -> ::engine::Result<::engine::Task<#refs>> {
                ::engine::__private::submit(#path, #encoded, &self.options)
            }
        }
    };
    let submit = (!output.is_stream()).then(|| {
        quote! {
            /// Spawns the task, and gives it.
            pub fn submit(#declared) -> ::engine::Result<::engine::Task<#refs>> {
                Self::options().submit(#names)
            }
        }
    });

    let (decoded, outcome) = (parameters.decoded(), output.outcome(&quote!(#name(#names)), options));
    let with_num_returns = options.num_returns.is_some().then(|| {
        quote! {
            /// How many objects the task makes.
            pub fn num_returns(mut self, num_returns: usize) -> Self {
                self.options = self.options.num_returns(num_returns);
                self
            }
        }
    });
    quote! {
        #function

        #(#gates)*
        #(#documents)*
        #[allow(non_camel_case_types, missing_docs, unreachable_pub, dead_code)]
        #visibility enum #name {}

        #(#gates)*
        #[allow(private_interfaces, dead_code, missing_docs, unreachable_pub)]
        impl #name {
            /// Spawns the task: it runs in a sandbox somewhere.
            pub fn spawn(#declared) -> ::engine::Result<#refs> {
                Self::options().spawn(#names)
            }

            #submit

            /// Options other than those of the attribute, for one call.
            #[must_use]
            pub fn options() -> #builder {
                #builder { options: ::engine::TaskOptions::new() #setters #shape }
            }
        }

        #(#gates)*
        #[doc(hidden)]
        #[allow(non_camel_case_types, missing_docs, unreachable_pub, dead_code)]
        #[derive(Clone, Debug)]
        #visibility struct #builder {
            options: ::engine::TaskOptions,
        }

        #(#gates)*
        #[allow(private_interfaces, dead_code, missing_docs, unreachable_pub)]
        impl #builder {
            ::engine::__task_setters!();

            #with_num_returns

            #submitting
        }

        #(#gates)*
        const _: () = {
            #[allow(clippy::unit_arg, clippy::let_unit_value, unused_mut)]
            fn run(mut __incoming: ::engine::__private::Incoming) -> ::engine::__private::Outcome {
                #decoded
                #outcome
            }

            ::engine::__private::inventory::submit!(::engine::__private::TaskEntry {
                path: ::core::concat!(::core::module_path!(), "::", #text),
                run,
            });
        };
    }
}
