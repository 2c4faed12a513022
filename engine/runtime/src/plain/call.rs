//! One call of a plain component.

use std::borrow::Cow;

use engine_core::options::Returns;
use engine_core::work::{Call, Entry};
use engine_core::{Codec, Error, ErrorCode, Value};
use wasmtime::Store;
use wasmtime::component::types::ComponentFunc;
use wasmtime::component::{Func, Instance, Type, Val};
use wasmtime_wasi::I32Exit;

use crate::errors::{HostError, bounded};
use crate::guest::Guest;
use crate::info::{ComponentInfo, FunctionInfo};
use crate::instance::Served;
use crate::plain::{convert, expression, types};

/// Serves a call.
pub(crate) async fn enter(
    info: &ComponentInfo,
    instance: Instance,
    store: &mut Store<Guest>,
    call: &Call,
) -> Served {
    match &call.entry {
        Entry::Main(_) => main(info, instance, store).await,
        Entry::Invoke(text) => match expression::split(text) {
            Ok((name, arguments)) => invoke(info, instance, store, name, arguments).await,
            Err(error) => Served::Alive(Err(error)),
        },
        Entry::Run(name) => run(info, instance, store, call, name).await,
        Entry::Create(name) | Entry::Method(name) => Served::Alive(Err(Error::new(
            ErrorCode::InvalidComponent,
            format!(
                "`{name}` cannot be an actor's: this component has plain exports, and actors need an SDK. {}",
                offered(info)
            ),
        ))),
        Entry::Client => Served::Alive(Err(crate::errors::no_client())),
    }
}

/// What there is to call, for messages.
fn offered(info: &ComponentInfo) -> String {
    if info.functions.is_empty() {
        return "It exports no functions".to_owned();
    }
    let list: Vec<String> =
        info.functions.iter().take(50).map(|f| format!("{}: {}", f.full_name(), f.signature)).collect();
    let more = info.functions.len().saturating_sub(list.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("It exports {}{more}", list.join(", "))
}

/// The function of this name: `f`, `interface#f`, or the only `f` of any interface.
fn find<'a>(info: &'a ComponentInfo, name: &str) -> Result<&'a FunctionInfo, Error> {
    if let Some(function) = info.functions.iter().find(|function| function.full_name() == name) {
        return Ok(function);
    }
    let is_meant = |function: &&FunctionInfo| match name.split_once('#') {
        None => function.name == name,
        Some((interface, name)) => {
            let full = function.interface.as_deref().unwrap_or_default();
            let without_version = full.split_once('@').map_or(full, |(name, _)| name);
            let is_interface = without_version == interface
                || without_version.rsplit_once('/').is_some_and(|(_, last)| last == interface);
            function.name == name && is_interface
        }
    };
    let mut candidates = info.functions.iter().filter(is_meant);
    match (candidates.next(), candidates.next()) {
        (Some(function), None) => Ok(function),
        (Some(one), Some(other)) => Err(Error::new(
            ErrorCode::NotFound,
            format!("`{name}` could be {} or {}: name the interface too", one.full_name(), other.full_name()),
        )),
        (None, _) => Err(Error::new(
            ErrorCode::NotFound,
            format!("the component exports no function `{name}`. {}", offered(info)),
        )),
    }
}

fn export(instance: Instance, store: &mut Store<Guest>, function: &FunctionInfo) -> Result<Func, Error> {
    let interface = match &function.interface {
        None => None,
        Some(interface) => Some(
            instance
                .get_export_index(&mut *store, None, interface)
                .ok_or_else(|| Error::internal(format!("the export {interface} is gone")))?,
        ),
    };
    instance
        .get_export_index(&mut *store, interface.as_ref(), &function.name)
        .and_then(|index| instance.get_func(&mut *store, index))
        .ok_or_else(|| Error::internal(format!("the export {} is gone", function.full_name())))
}

/// The function, its type, and whether its types can be passed at all.
fn function(
    info: &ComponentInfo,
    instance: Instance,
    store: &mut Store<Guest>,
    name: &str,
) -> Result<(Func, ComponentFunc, String), Error> {
    let found = find(info, name)?;
    let function = export(instance, store, found)?;
    let ty = function.ty(&*store);
    let signature = format!("{}: {}", found.full_name(), types::signature(&ty));
    let results = ty.results();
    if let Some(what) = ty.params().map(|(_, ty)| ty).chain(results).find_map(|ty| types::unsupported(&ty)) {
        return Err(Error::new(
            ErrorCode::Unsupported,
            format!(
                "{signature} passes {what}, which cannot leave a sandbox: use an SDK's objects and actors"
            ),
        ));
    }
    Ok((function, ty, signature))
}

/// Calls with these arguments; none as a value for a function without a result.
async fn called(
    store: &mut Store<Guest>,
    function: Func,
    ty: &ComponentFunc,
    arguments: &[Val],
) -> wasmtime::Result<Option<Val>> {
    let mut results = vec![Val::Bool(false); ty.results().len()];
    function.call_async(&mut *store, arguments, &mut results).await?;
    Ok(results.into_iter().next())
}

async fn invoke(
    info: &ComponentInfo,
    instance: Instance,
    store: &mut Store<Guest>,
    name: &str,
    arguments: &str,
) -> Served {
    let (function, ty, signature) = match function(info, instance, store, name) {
        Ok(found) => found,
        Err(error) => return Served::Alive(Err(error)),
    };
    let types: Vec<Type> = ty.params().map(|(_, ty)| ty).collect();
    let arguments = match expression::typed_arguments(arguments, &types) {
        Ok(arguments) => arguments,
        Err(reason) => {
            return Served::Alive(Err(Error::invalid_argument(format!(
                "{reason}. The function is {signature}"
            ))));
        }
    };
    match called(store, function, &ty, &arguments).await {
        Ok(result) => {
            let text = match result.map(|value| wasmtime::component::wasm_wave::to_string(&value)).transpose()
            {
                Ok(text) => text.unwrap_or_default(),
                Err(error) => {
                    return Served::Alive(Err(Error::internal(format!(
                        "the result of {signature} cannot be written: {error}"
                    ))));
                }
            };
            Served::Alive(store.data_mut().returned(Codec::Raw, text.into_bytes()).map(|value| vec![value]))
        }
        Err(trap) => Served::Dead(store.data_mut().error_of_trap(&trap)),
    }
}

async fn run(
    info: &ComponentInfo,
    instance: Instance,
    store: &mut Store<Guest>,
    call: &Call,
    name: &str,
) -> Served {
    let prepared = function(info, instance, store, name).and_then(|(function, ty, signature)| {
        let arguments = arguments(call, &ty, &signature)?;
        Ok((function, ty, signature, arguments))
    });
    let (function, ty, signature, arguments) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return Served::Alive(Err(error)),
    };
    match called(store, function, &ty, &arguments).await {
        Ok(result) => Served::Alive(store.data_mut().returned_values(call, &signature, result)),
        Err(trap) => Served::Dead(store.data_mut().error_of_trap(&trap)),
    }
}

fn arguments(call: &Call, ty: &ComponentFunc, signature: &str) -> Result<Vec<Val>, Error> {
    let expected = ty.params().len();
    if call.arguments.len() != expected {
        return Err(Error::invalid_argument(format!(
            "{} arguments were given and {expected} are expected. The function is {signature}",
            call.arguments.len()
        )));
    }
    let mut arguments = Vec::with_capacity(expected);
    for ((name, ty), value) in ty.params().zip(&call.arguments) {
        let argument = argument(value, &ty).map_err(|reason| {
            Error::invalid_argument(format!("argument `{name}`: {reason}. The function is {signature}"))
        })?;
        arguments.push(argument);
    }
    Ok(arguments)
}

fn argument(value: &Value, ty: &Type) -> Result<Val, String> {
    if !value.handles.is_empty() {
        return Err("a reference inside a value cannot be passed to a plain component".to_owned());
    }
    let bytes = engine_objects::bytes(value);
    match value.codec {
        Codec::Msgpack => {
            let decoded = convert::decode(bytes)?;
            convert::to_val(&decoded, ty)
        }
        Codec::Raw => convert::to_val(&rmpv::Value::Binary(bytes.to_vec()), ty),
        codec => Err(format!(
            "a value of codec {codec:?} cannot be read by a plain component: pass MessagePack or raw bytes"
        )),
    }
}

impl Guest {
    fn returned(&mut self, codec: Codec, bytes: Vec<u8>) -> Result<Value, Error> {
        let max = self.runtime.options.returned_bytes_per_task_max;
        if bytes.len() as u64 > max {
            return Err(crate::imports::too_much_returned(bytes.len() as u64, max));
        }
        self.make_value(codec, bytes, Vec::new())
    }

    /// The result as the values that the caller asked for: one for the whole, or the parts of a tuple.
    fn returned_values(
        &mut self,
        call: &Call,
        signature: &str,
        result: Option<Val>,
    ) -> Result<Vec<Value>, Error> {
        let wrong = |expected: &str| {
            Error::new(
                ErrorCode::TaskFailed,
                format!("{expected} values are expected (`num_returns`) of {signature}, which does not return so many"),
            )
            .with_kind("returns")
        };
        let values = match (call.returns, result) {
            (Returns::Streaming(_), _) => {
                return Err(Error::new(
                    ErrorCode::Unsupported,
                    format!("{signature} is a plain function and cannot stream its results"),
                ));
            }
            (Returns::Fixed(0), _) => Vec::new(),
            (Returns::Fixed(1), result) => vec![result],
            (Returns::Fixed(count), Some(Val::Tuple(parts))) if parts.len() == count as usize => {
                parts.into_iter().map(Some).collect()
            }
            (Returns::Fixed(count), _) => return Err(wrong(&count.to_string())),
        };
        values
            .into_iter()
            .map(|value| {
                let bytes = convert::encode(value.as_ref()).map_err(|reason| {
                    Error::internal(format!("the result of {signature} cannot be written: {reason}"))
                })?;
                self.returned(Codec::Msgpack, bytes)
            })
            .collect()
    }
}

/// Runs a command: its exit status is the call's result.
async fn main(info: &ComponentInfo, instance: Instance, store: &mut Store<Guest>) -> Served {
    let is_run = |function: &&FunctionInfo| {
        function.name == "run"
            && function.interface.as_deref().is_some_and(|name| name.starts_with("wasi:cli/run@0.2."))
    };
    let Some(function) = info.functions.iter().find(is_run) else {
        return Served::Alive(Err(Error::new(
            ErrorCode::InvalidComponent,
            format!(
                "the component has no main: neither `engine:compute/program` nor `wasi:cli/run`. Call one of its exports with --invoke. {}",
                offered(info)
            ),
        )));
    };
    let function = match export(instance, store, function) {
        Ok(function) => function,
        Err(error) => return Served::Alive(Err(error)),
    };
    let ty = function.ty(&*store);
    let returned = called(store, function, &ty, &[]).await;
    let status: Cow<'static, str> = match returned {
        Ok(Some(Val::Result(Err(_)))) => "a failure".into(),
        Ok(_) => return Served::Alive(Ok(vec![Value::empty()])),
        Err(error) => match error.downcast_ref::<I32Exit>() {
            Some(I32Exit(0)) => return Served::Alive(Ok(vec![Value::empty()])),
            Some(I32Exit(status)) => format!("status {status}").into(),
            None => return Served::Dead(store.data_mut().error_of_trap(&error)),
        },
    };
    Served::Alive(Err(Error::new(
        ErrorCode::TaskFailed,
        bounded(format!("the command exited with {status}")),
    )
    .with_kind("exit")))
}

impl From<HostError> for Error {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Guest(error) => error,
            HostError::Trap(trap) => Error::internal(format!("{trap:#}")),
        }
    }
}
