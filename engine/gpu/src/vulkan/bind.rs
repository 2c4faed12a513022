//! Bind groups, which are dear to make, kept for the next launch of the same kernel with the same buffers.

use std::collections::HashMap;

use crate::vulkan::compile::Pipeline;

/// Bind groups that are kept; above, all are forgotten.
const KEPT_MAX: usize = 1_024;

/// A buffer's memory on the device.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    /// No other has it, ever.
    pub(super) id: u64,
    pub(super) buffer: wgpu::Buffer,
}

/// A range of memory for a kernel, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) memory: &'a Memory,
    pub(super) offset: u64,
    pub(super) size: u64,
}

impl<'a> Part<'a> {
    /// All of it.
    pub(super) fn all(memory: &'a Memory) -> Self {
        Self { memory, offset: 0, size: memory.buffer.size() }
    }
}

/// The bind groups of one device.
#[derive(Debug, Default)]
pub(super) struct BindGroups {
    kept: HashMap<Vec<u64>, wgpu::BindGroup>,
    key: Vec<u64>,
}

impl BindGroups {
    /// The group of these parts; scalars, where the kernel takes any, lie in `ring` at a dynamic offset.
    pub(super) fn get(
        &mut self,
        device: &wgpu::Device,
        pipeline: &Pipeline,
        parts: &[Part<'_>],
        ring: &wgpu::Buffer,
    ) -> &wgpu::BindGroup {
        self.key.clear();
        self.key.push(pipeline.id);
        self.key.extend(parts.iter().flat_map(|part| [part.memory.id, part.offset, part.size]));
        if !self.kept.contains_key(&self.key) {
            if self.kept.len() >= KEPT_MAX {
                self.kept.clear();
            }
            self.kept.insert(self.key.clone(), make(device, pipeline, parts, ring));
        }
        &self.kept[&self.key]
    }

    /// Forgets the groups of a memory, which would keep it.
    pub(super) fn forget_memory(&mut self, id: u64) {
        self.kept.retain(|key, _| !key[1..].chunks(3).any(|part| part[0] == id));
    }

    /// Forgets the groups of a kernel.
    pub(super) fn forget_pipeline(&mut self, id: u64) {
        self.kept.retain(|key, _| key[0] != id);
    }
}

fn make(
    device: &wgpu::Device,
    pipeline: &Pipeline,
    parts: &[Part<'_>],
    ring: &wgpu::Buffer,
) -> wgpu::BindGroup {
    let entry = |binding, buffer, offset, size: u64| wgpu::BindGroupEntry {
        binding,
        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer,
            offset,
            size: wgpu::BufferSize::new(size),
        }),
    };
    let mut entries: Vec<_> = parts
        .iter()
        .zip(0..)
        // Buffers are words to a kernel; what is allocated is whole words.
        .map(|(part, at)| entry(at, &part.memory.buffer, part.offset, part.size.next_multiple_of(4)))
        .collect();
    if let Some(room) = pipeline.scalars {
        entries.push(entry(entries.len() as u32, ring, 0, room.bytes.next_multiple_of(16)));
    }
    device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.layout,
        entries: &entries,
    })
}
