//! `#[engine::actor]`.
use crate::expand::Mistakes;
use crate::options::{self, Options};
use crate::signature::{self, Output, Parameters};
use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{FnArg, Ident, ImplItem, ImplItemFn, ItemImpl, Type, Visibility};

const NOUN: &str = "a method of an actor";
const CONSTRUCTOR: &str = "the constructor of an actor";
/// What the macro adds to the type itself.
const RESERVED_OF_TYPE: [&str; 3] = ["spawn", "options", "lookup"];
/// What the macro adds to the handle.
const RESERVED_OF_HANDLE: [&str; 7] = ["id", "kill", "restart", "submit", "clone", "current", "as_actor_ref"];

/// A method that can be called from outside.
struct Method {
    name: Ident,
    documents: Vec<syn::Attribute>,
    options: Options,
    parameters: Parameters,
    output: Output,
    is_exclusive: bool,
    is_async: bool,
}

/// `new`: how the actor is made.
struct Constructor {
    parameters: Parameters,
    is_fallible: bool,
}

pub(crate) fn stray_method(_: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    Err(syn::Error::new_spanned(
        item,
        "`#[engine::method]` goes on a method in an `impl` block with `#[engine::actor]`",
    ))
}

pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let mut block: ItemImpl = syn::parse2(item).map_err(|error| {
        syn::Error::new(
            error.span(),
            "`#[engine::actor]` goes on the `impl` block with `new` and the methods, not on the type",
        )
    })?;
    let options = Options::parse(attribute, &options::ACTOR)?;
    let mut mistakes = Mistakes::default();
    let class = class_of(&block)?;
    let mut constructor = None;
    let mut methods = Vec::new();
    for item in &mut block.items {
        let ImplItem::Fn(function) = item else { continue };
        let own = method_options(function)?;
        let name = function.sig.ident.to_string();
        if RESERVED_OF_TYPE.contains(&name.as_str()) {
            let message =
                format!("`{name}` is what `#[engine::actor]` itself adds to the type; choose another name");
            mistakes.at(&function.sig.ident, message);
        } else if name == "new" {
            constructor = Some(read_constructor(function, &class, &mut mistakes));
        } else if !matches!(function.vis, Visibility::Inherited) {
            methods.extend(read_method(function, own.unwrap_or_default(), &mut mistakes));
        } else if own.is_some() {
            mistakes.at(
                &function.sig.ident,
                "only public methods can be called from outside; make it `pub` or drop `#[engine::method]`",
            );
        }
    }
    let Some(constructor) = constructor else {
        mistakes.at(
            &block.self_ty,
            format!(
                "an actor needs `pub fn new(…) -> Self`, which makes it from the arguments of \
                 `{class}::spawn(…)`"
            ),
        );
        return mistakes.finish().map(|()| TokenStream::new());
    };
    mistakes.finish()?;
    Ok(generate(&block, &class, &options, &constructor, &methods))
}

fn class_of(block: &ItemImpl) -> syn::Result<Ident> {
    if let Some((_, of, _)) = &block.trait_ {
        let message = "an actor's methods are in an `impl` block of the type's own, not of a trait";
        return Err(syn::Error::new_spanned(of, message));
    }
    if !block.generics.params.is_empty() {
        let message = "an actor cannot be generic: handles and actor are in different sandboxes and must \
                       agree on one type; write concrete types";
        return Err(syn::Error::new_spanned(&block.generics, message));
    }
    match &*block.self_ty {
        Type::Path(path) => match path.path.get_ident() {
            Some(class) => Ok(class.clone()),
            None => Err(syn::Error::new_spanned(path, "write the bare name of the type, such as `Counter`")),
        },
        other => Err(syn::Error::new_spanned(other, "an actor is a struct or an enum with a name")),
    }
}

/// Takes `#[engine::method(…)]` off the function.
fn method_options(function: &mut ImplItemFn) -> syn::Result<Option<Options>> {
    let is_method = |attribute: &syn::Attribute| {
        let path: Vec<_> =
            attribute.path().segments.iter().map(|segment| segment.ident.to_string()).collect();
        path == ["engine", "method"] || path == ["method"]
    };
    let Some(index) = function.attrs.iter().position(is_method) else { return Ok(None) };
    let attribute = function.attrs.remove(index);
    let tokens = match &attribute.meta {
        syn::Meta::List(list) => list.tokens.clone(),
        _ => TokenStream::new(),
    };
    Options::parse(tokens, &options::METHOD).map(Some)
}

fn read_constructor(function: &ImplItemFn, class: &Ident, mistakes: &mut Mistakes) -> Constructor {
    let signature = &function.sig;
    signature::check_not_async(signature, CONSTRUCTOR, mistakes);
    signature::check(signature, CONSTRUCTOR, mistakes);
    if let Some(receiver) = signature.receiver() {
        mistakes.at(receiver, "`new` makes the actor, so it has no `self`");
    }
    let parameters = Parameters::read(signature, CONSTRUCTOR, mistakes);
    let kind = match &signature.output {
        syn::ReturnType::Type(_, kind) => Some(&**kind),
        syn::ReturnType::Default => None,
    };
    let is_fallible = kind.is_some_and(signature::is_result);
    let written = kind.map(signature::written).unwrap_or_default();
    if !is_fallible && written != "Self" && *class != written {
        mistakes.at(&signature.ident, "`new` makes the actor: it returns `Self` or `Result<Self, E>`");
    }
    Constructor { parameters, is_fallible }
}

fn read_method(function: &ImplItemFn, options: Options, mistakes: &mut Mistakes) -> Option<Method> {
    let signature = &function.sig;
    let receiver = match signature.inputs.first() {
        Some(FnArg::Receiver(receiver)) => receiver,
        // A plain public function of the type, of no concern to the actor.
        _ => return None,
    };
    if receiver.reference.is_none() || receiver.colon_token.is_some() {
        let message = "a method of an actor takes `&self` or `&mut self`: the actor stays where it is";
        mistakes.at(receiver, message);
    }
    let name = &signature.ident;
    if RESERVED_OF_HANDLE.contains(&name.to_string().as_str()) {
        let message =
            format!("`{name}` is a method that every actor handle has already; choose another name");
        mistakes.at(name, message);
    }
    signature::check(signature, NOUN, mistakes);
    let parameters = Parameters::read(signature, NOUN, mistakes);
    let output = Output::read(signature, NOUN, mistakes);
    output.check_options(&options, mistakes);
    let is_async = signature.asyncness.is_some();
    if is_async && output.is_stream() {
        mistakes.at(&signature.output, "a stream is made by a plain `fn`: its items are yielded one by one");
    }
    let documents = function.attrs.iter().filter(|attribute| attribute.path().is_ident("doc"));
    let is_exclusive = receiver.mutability.is_some();
    Some(Method {
        name: name.clone(),
        documents: documents.cloned().collect(),
        options,
        parameters,
        output,
        is_exclusive,
        is_async,
    })
}

fn generate(
    block: &ItemImpl,
    class: &Ident,
    options: &Options,
    constructor: &Constructor,
    methods: &[Method],
) -> TokenStream {
    let text = class.to_string();
    let (handle, calls, builder) =
        (format_ident!("{class}Handle"), format_ident!("{class}Calls"), format_ident!("{class}Options"));
    let handle_document = format!("A handle to a [`{class}`] that lives in a sandbox of its own.");
    let calls_document = format!("Calls of a [`{class}`] with options; from [`{handle}::submit`].");
    let builder_document = format!("The options of a [`{class}`] that is to be made.");
    let (declared, names) = (constructor.parameters.declared(), constructor.parameters.names());
    let (encoded, decoded) = (constructor.parameters.encoded(), constructor.parameters.decoded());
    let made = quote!(<#class>::new(#names));
    let made = if constructor.is_fallible { signature::unwrapped(&made) } else { made };
    let setters = &options.setters;

    let of_handle = methods.iter().map(|method| method.of_handle());
    let of_calls = methods.iter().map(|method| method.of_calls());
    let served = methods.iter().map(|method| method.served(class));
    quote! {
        #block

        #[allow(private_interfaces, dead_code, missing_docs, unreachable_pub)]
        impl #class {
            /// Makes the actor in a sandbox of its own.
            pub fn spawn(#declared) -> ::engine::Result<#handle> {
                Self::options().spawn(#names)
            }

            /// Options other than those of the attribute, for one actor.
            #[must_use]
            pub fn options() -> #builder {
                #builder { options: ::engine::ActorOptions::new() #setters }
            }

            /// The actor of this name, in this namespace or the job's.
            pub fn lookup(name: &str, namespace: ::core::option::Option<&str>) -> ::engine::Result<#handle> {
                ::engine::ActorRef::lookup(name, namespace).map(#handle)
            }
        }

        #[doc = #builder_document]
        #[allow(unreachable_pub, dead_code)]
        #[derive(Clone, Debug)]
        pub struct #builder {
            options: ::engine::ActorOptions,
        }

        #[allow(private_interfaces, dead_code, missing_docs, unreachable_pub)]
        impl #builder {
            ::engine::__actor_setters!();

            /// Makes the actor with these options.
            pub fn spawn(self, #declared) -> ::engine::Result<#handle> {
                const CLASS: &str =
                    ::engine::__private::name_of(::core::concat!(::core::module_path!(), "::", #text));
                ::engine::__private::create_actor(CLASS, #encoded, &self.options).map(#handle)
            }
        }

        #[doc = #handle_document]
        ///
        /// Calls made through one handle and its clones run in the order in which they were made.
        #[allow(unreachable_pub, dead_code)]
        #[derive(Clone, Debug)]
        pub struct #handle(::engine::ActorRef);

        #[allow(private_interfaces, dead_code, missing_docs, unreachable_pub)]
        impl #handle {
            /// The actor's id: printable, for logs and listings.
            pub fn id(&self) -> ::std::string::String {
                self.0.id()
            }

            /// Ends the actor now; calls in flight fail, and it is not restarted.
            pub fn kill(&self) -> ::engine::Result<()> {
                self.0.kill()
            }

            /// Ends the actor now, and has it made anew if its `max_restarts` allows.
            pub fn restart(&self) -> ::engine::Result<()> {
                self.0.restart()
            }

            /// The same methods, with options, each giving its task, which can be cancelled.
            #[must_use]
            pub fn submit(&self) -> #calls {
                #calls { actor: ::core::clone::Clone::clone(&self.0), options: ::engine::CallOptions::new() }
            }

            /// A handle to the actor that runs this code, if that is what it is.
            pub fn current() -> ::core::option::Option<Self> {
                ::engine::context().current_actor().map(Self)
            }

            /// The handle without its class.
            pub fn as_actor_ref(&self) -> &::engine::ActorRef {
                &self.0
            }

            #(#of_handle)*
        }

        impl ::core::convert::From<::engine::ActorRef> for #handle {
            fn from(actor: ::engine::ActorRef) -> Self {
                #handle(actor)
            }
        }

        #[doc = #calls_document]
        #[allow(unreachable_pub, dead_code)]
        #[derive(Clone, Debug)]
        pub struct #calls {
            actor: ::engine::ActorRef,
            options: ::engine::CallOptions,
        }

        #[allow(private_interfaces, dead_code, missing_docs, unreachable_pub)]
        impl #calls {
            ::engine::__call_setters!();

            #(#of_calls)*
        }

        ::engine::__handle_serde!(#handle);

        const _: () = {
            #[allow(clippy::needless_question_mark, clippy::let_unit_value, unused_mut)]
            fn create(
                mut __incoming: ::engine::__private::Incoming,
            ) -> ::core::result::Result<
                ::std::boxed::Box<dyn ::core::any::Any>,
                ::engine::Failure,
            > {
                #decoded
                let actor: #class = #made;
                ::core::result::Result::Ok(::std::boxed::Box::new(actor))
            }

            ::engine::__private::inventory::submit!(::engine::__private::ActorEntry {
                path: ::core::concat!(::core::module_path!(), "::", #text),
                create,
                methods: &[#(#served),*],
            });
        };
    }
}

impl Method {
    fn of_handle(&self) -> TokenStream {
        let Method { name, documents, options, parameters, output, .. } = self;
        let (declared, names, refs) = (parameters.declared(), parameters.names(), output.refs(options));
        let outputs = (!output.is_stream()).then(|| quote!(.map(::engine::Task::into_outputs)));
        quote! {
            #(#documents)*
            pub fn #name(&self, #declared) -> ::engine::Result<#refs> {
                self.submit().#name(#names) #outputs
            }
        }
    }

    fn of_calls(&self) -> TokenStream {
        let Method { name, documents, options, parameters, output, .. } = self;
        let text = name.to_string();
        let (declared, encoded, refs) = (parameters.declared(), parameters.encoded(), output.refs(options));
        let (setters, shape) = (&options.setters, output.setter(options));
        let (submit, task) = if output.is_stream() {
            (quote!(submit_streaming), refs)
        } else {
            (quote!(submit), quote!(::engine::Task<#refs>))
        };
        quote! {
            #(#documents)*
            pub fn #name(&self, #declared) -> ::engine::Result<#task> {
                let __options = self.options.over(::engine::CallOptions::new() #setters #shape);
                self.actor.#submit(#text, #encoded, __options)
            }
        }
    }

    fn served(&self, class: &Ident) -> TokenStream {
        let Method { name, options, parameters, output, is_exclusive, is_async, .. } = self;
        let text = name.to_string();
        let (decoded, names) = (parameters.decoded(), parameters.names());
        let comma = (!parameters.is_empty()).then(|| quote!(,));
        let awaited = is_async.then(|| quote!(.await));
        let outcome = output.outcome(&quote!(<#class>::#name(__actor #comma #names) #awaited), options);
        let (state, actor, get) = match *is_exclusive {
            true => (quote!(&mut dyn ::core::any::Any), quote!(&mut #class), quote!(exclusive)),
            false => (quote!(&dyn ::core::any::Any), quote!(&#class), quote!(shared)),
        };
        let asynchronous = is_async.then(|| quote!(async));
        let call = quote! {
            #[allow(clippy::unit_arg, clippy::let_unit_value, unused_mut)]
            #asynchronous fn call(
                __actor: #state,
                mut __incoming: ::engine::__private::Incoming,
            ) -> ::engine::__private::Outcome {
                let __actor: #actor = ::engine::__private::#get(__actor)?;
                #decoded
                #outcome
            }
        };
        let serve = match (*is_exclusive, *is_async) {
            (false, false) => quote!(::engine::__private::Serve::Shared(call)),
            (true, false) => quote!(::engine::__private::Serve::Exclusive(call)),
            (false, true) => {
                quote!(::engine::__private::Serve::SharedAsync(|a, i| ::std::boxed::Box::pin(call(a, i))))
            }
            (true, true) => {
                quote!(::engine::__private::Serve::ExclusiveAsync(|a, i| ::std::boxed::Box::pin(call(a, i))))
            }
        };
        quote! {
            ::engine::__private::MethodEntry {
                name: #text,
                serve: {
                    #call
                    #serve
                },
            }
        }
    }
}
