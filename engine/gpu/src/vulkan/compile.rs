//! From source to a pipeline.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

use wgpu::naga;

use crate::backend::{BindingShape, ScalarRoom};
use crate::error::{Code, Error, Result, internal};
use crate::vulkan::at_once;
use crate::vulkan::source::{COMPILE_STACK_BYTES, check_depth, reflect};

/// A kernel, ready to be launched.
#[derive(Debug)]
pub(super) struct Pipeline {
    /// No other has it.
    pub(super) id: u64,
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
    /// Of each buffer.
    pub(super) bindings: Vec<BindingShape>,
    /// Of the scalars, where it takes any.
    pub(super) scalars: Option<ScalarRoom>,
    pub(super) block: [u32; 3],
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Compiles what a stranger has written: on a thread with a stack of its own, whose panic is an error.
pub(super) fn compile(
    device: &wgpu::Device,
    source: &str,
    entry: &str,
    shared_bytes_max: u32,
) -> Result<Pipeline> {
    check_depth(source)?;
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("gpu-compile".into()).stack_size(COMPILE_STACK_BYTES);
        let thread = builder
            .spawn_scoped(scope, || {
                let reflection = reflect(source, entry, shared_bytes_max)?;
                build(
                    device,
                    reflection.module,
                    entry,
                    reflection.bindings,
                    reflection.scalars,
                    reflection.block,
                )
            })
            .map_err(|error| internal(format!("no thread to compile on: {error}")))?;
        thread.join().unwrap_or_else(|_| {
            let what = format!("kernel {entry}: the compiler failed on it: write it in another way");
            Err(Error::new(Code::CompileError, what))
        })
    })
}

/// Compiles a source of the library.
pub(super) fn compile_own(device: &wgpu::Device, source: &str, shared_bytes_max: u32) -> Result<Pipeline> {
    compile(device, source, "main", shared_bytes_max).map_err(|error| internal(format!("{error}\n{source}")))
}

fn build(
    device: &wgpu::Device,
    module: naga::Module,
    entry: &str,
    bindings: Vec<BindingShape>,
    scalars: Option<ScalarRoom>,
    block: [u32; 3],
) -> Result<Pipeline> {
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let inner = device.push_error_scope(wgpu::ErrorFilter::Internal);
    let shader = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Naga(Cow::Owned(module)),
    });
    let entry_of = |binding: u32, ty, has_dynamic_offset| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset, min_binding_size: None },
        count: None,
    };
    let storage = |shape: &BindingShape| wgpu::BufferBindingType::Storage { read_only: !shape.writes };
    let mut entries: Vec<_> =
        bindings.iter().zip(0..).map(|(shape, at)| entry_of(at, storage(shape), false)).collect();
    if scalars.is_some() {
        entries.push(entry_of(entries.len() as u32, wgpu::BufferBindingType::Uniform, true));
    }
    let layout =
        device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
    let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: None,
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: Some(&pipeline_layout),
        module: &shader,
        entry_point: Some(entry),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    let refused = at_once(inner.pop()).flatten().or(at_once(scope.pop()).flatten());
    if let Some(error) = refused {
        return Err(Error::new(Code::CompileError, format!("kernel {entry}: {error}")));
    }
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    Ok(Pipeline { id, pipeline, layout, bindings, scalars, block })
}
