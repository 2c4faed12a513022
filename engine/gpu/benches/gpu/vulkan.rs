//! Launches of a small kernel, against wgpu alone: the same kernel, and as many launches in a submission.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use engine_gpu::{BackendKind, Binding, DType, Grid, KernelSource, SessionLimits, devices};

const SOURCE: &str = "
@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@compute @workgroup_size(64) fn add(@builtin(global_invocation_id) id: vec3u) { y[id.x] += x[id.x]; }";
const ELEMENTS: u64 = 64;
const LAUNCHES: u32 = 4_096;
/// Of a session.
const LAUNCHES_PER_SUBMISSION: u32 = 128;

pub(crate) fn measure() {
    let found = devices();
    let Some(device) = found.iter().find(|device| device.description().backend == BackendKind::Wgpu) else {
        println!("| (no device of wgpu: its rows are left out) | | | | |");
        return;
    };
    let session = device.open(SessionLimits::default()).expect("the device opens");
    let kernel = session.compile(KernelSource::Wgsl(SOURCE), "add").expect("it is right");
    let [x, y] = [(); 2].map(|()| session.allocate(DType::U32, ELEMENTS).expect("there is room"));
    let stream = session.stream();
    let ours = || {
        for _ in 0..LAUNCHES {
            let bindings = [Binding::read(&x), Binding::read_write(&y)];
            stream.launch(&kernel, Grid::of([1, 1, 1]), &bindings, &[]).expect("it is right");
        }
        stream.synchronize().expect("the device is well");
    };
    let what = format!("a launch of {ELEMENTS} threads on {}", device.description().name);
    let Some(direct) = Direct::open(&device.description().name) else {
        println!("| (wgpu alone does not find {}) | | | | |", device.description().name);
        return;
    };
    crate::compare(&what, "below 1.1", LAUNCHES, ours, || direct.run());
}

/// wgpu, as one uses it who knows that the bindings stay.
struct Direct {
    device: wgpu::Device,
    queue: wgpu::Queue,
    pipeline: wgpu::ComputePipeline,
    group: wgpu::BindGroup,
}

impl Direct {
    fn open(name: &str) -> Option<Self> {
        let mut options = wgpu::InstanceDescriptor::new_without_display_handle();
        options.backends = wgpu::Backends::VULKAN;
        options.flags = wgpu::InstanceFlags::empty();
        let instance = wgpu::Instance::new(options);
        let adapters = at_once(instance.enumerate_adapters(wgpu::Backends::VULKAN))?;
        let adapter = adapters.into_iter().find(|adapter| adapter.get_info().name == name)?;
        let (device, queue) = at_once(adapter.request_device(&wgpu::DeviceDescriptor::default()))?.ok()?;
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(SOURCE.into()),
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: Some("add"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        let buffers = [(); 2].map(|()| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: ELEMENTS * 4,
                usage: wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            })
        });
        let entry = |at: usize| wgpu::BindGroupEntry {
            binding: at as u32,
            resource: buffers[at].as_entire_binding(),
        };
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[entry(0), entry(1)],
        });
        Some(Self { device, queue, pipeline, group })
    }

    fn run(&self) {
        for _ in 0..LAUNCHES / LAUNCHES_PER_SUBMISSION {
            let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                pass.set_pipeline(&self.pipeline);
                for _ in 0..LAUNCHES_PER_SUBMISSION {
                    pass.set_bind_group(0, &self.group, &[]);
                    pass.dispatch_workgroups(1, 1, 1);
                }
            }
            self.queue.submit([encoder.finish()]);
        }
        self.device.poll(wgpu::PollType::wait_indefinitely()).expect("the device is well");
    }
}

fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}
